// Package echo is idl/echo.thrift in the Go of Apache's compiler, for tests; generate.sh makes it
// again.
package echo
