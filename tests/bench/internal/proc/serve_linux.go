package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"time"
)

// answer is a line that a child prints.
type answer struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"`
}

// Commands are the functions that answer a child's commands.
type Commands map[string]func(ctx context.Context) (any, error)

// graceTime is how long a busy child goes on after its standard input has ended.
const graceTime = time.Second

// Serve is the main loop of a child. It prints ready, then answers commands from standard input
// until that ends, which ends the context of the running command. It answers "usage" and "collect"
// besides commands. It returns the first error of a command, after telling the parent. If path is
// not empty, it writes a CPU profile there.
func Serve(ready any, commands Commands, cpuProfile string) error {
	if cpuProfile != "" {
		f, err := os.Create(cpuProfile)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // a reader of the profile sees if it is cut short
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := reply(ready, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	lines := make(chan string)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
		cancel()
		close(lines)
		// A command that ignores its context must not keep the process.
		time.AfterFunc(graceTime, func() { os.Exit(1) })
	}()
	for line := range lines {
		value, err := commands.run(ctx, line)
		if err := errors.Join(reply(value, err), err); err != nil {
			return err
		}
	}
	return nil
}

func (c Commands) run(ctx context.Context, command string) (any, error) {
	if f := c[command]; f != nil {
		return f(ctx)
	}
	switch command {
	case "usage":
		return OwnUsage(), nil
	case "collect":
		return CollectedUsage(), nil
	}
	return nil, fmt.Errorf("unknown command %q", command)
}

// reply prints the result of a command.
func reply(value any, failure error) error {
	var a answer
	if failure != nil {
		a.Error = failure.Error()
	} else {
		var err error
		if a.Value, err = json.Marshal(value); err != nil {
			return err
		}
	}
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(line))
	return err
}
