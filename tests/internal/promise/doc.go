// Package promise records what tests measured for each promise that the project makes, and prints
// it as a table.
//
// A test under the build tag long measures a figure and hands it to Check with the bound that
// it must keep. A package of such tests has Main as its TestMain, which prints the rows after the
// last test:
//
//	promise                    bound         figure        held
//	memory of a slow peer      <= 68 MiB     23.4 MiB      yes
//
// Other tests on the machine spoil a measurement: those of another run, and without -p 1 those of
// other packages, which the go command tests in parallel. So a test that measures takes Alone, and
// every other long test that needs the processor takes Among: Alone waits until no test of another
// package or run has either. This holds among processes of one user on one machine, and not on
// systems without flock(2).
package promise
