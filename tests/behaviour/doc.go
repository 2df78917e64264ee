// Package behaviour checks that a Kitex program sees the same on Kiteline as on Kitex's own
// transport: errors and their classification, metadata, statistics, limits, and the effects of
// options. Where there is a stock behaviour, each test runs on both.
package behaviour
