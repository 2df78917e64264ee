// Package stock has what tests need to run Kitex's own transports in one process with ours.
package stock
