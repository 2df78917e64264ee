//go:build !unix || solaris || aix

package conn

import "errors"

func queueOfDescriptor(int) (queue, error) { return nil, errors.ErrUnsupported }
