// Package promise records what tests saw of each promise that the project makes, and prints it as a
// table.
//
// A test under the build tag hardening measures a figure and hands it to Check with the bound
// that it has to keep. A package of such tests has Main as its TestMain, which prints the rows
// after the last test:
//
//	promise                    bound         figure        held
//	memory of a slow peer      <= 68 MiB     23.4 MiB      yes
//
// The go command runs packages side by side, which spoils a measurement. A test that measures
// takes Alone, every other long one Among: Alone waits until no test of another package has either.
// This holds among processes of one user on one machine, and where there is no flock(2) not at all.
package promise
