// Package compare tells which differences between two runs of the benchmarks are changes and which
// are noise.
//
// # What is compared
//
// A round measures all variants of a load side by side, so what slows the machine for a while slows
// them all. Therefore times and rates are compared as ratios to a reference under the same load in
// the same round, which removes the difference between two days' machines. The reference is the
// run's baseline. Where a load does not have it, it is the first variant that is not one of
// Kiteline's own, because those change from run to run. The reference itself, a load without one,
// and rounds without its figure are compared by plain values.
//
// Counts and sizes (allocations, bytes, memory) do not drift with the machine's speed, and a ratio
// would add the reference's spread to theirs: they are always compared by plain values.
//
// # When a difference is a change
//
// Both of these must hold.
//
// Student's t-test on the logarithms of the rounds' values, with one variance for both runs, finds
// the difference at a level of 1 %. It uses logarithms, because noise multiplies. It uses one
// variance, because the same load was measured twice on the same machine with, as a rule, equally
// many rounds, and then the test tolerates unequal variances well. Welch's test, which needs no
// such reason, thereby loses up to half its degrees of freedom: with three rounds, and 2 % of
// spread in the variant and in its reference, it misses one change of 20 % in five, Student's one
// in twenty-five. Where rounds differ by more, as on a small virtual machine (in two full runs on
// one: 6 % in calls/s, 10 % in p99, at the median cell), three of them find a change of 25 % in
// calls/s and of 45 % in p99 at best: to find smaller changes, measure more rounds. The calls/s of
// an open loop are a setting, and not judged.
//
// The difference is at least as large as its figure's threshold (see threshold): 2 % by default,
// more for tails and memory, and 10 % for times and rates by plain value, because the rounds of one
// run do not tell how much faster the machine is on another day. The longest latency of a round is
// that of one call, and is not judged. Allocations must differ by a tenth of one per call, and
// allocated bytes by sixteen.
//
// # What a cell's verdict is
//
// A cell changed if one of its main figures did: calls/s, CPU per call and p99, or memory per idle
// connection. At 1 % each, three figures keep the chance that a cell without change is called
// changed at 3 % or less (Bonferroni). The other figures are listed, but do not count: of a hundred
// of them one may differ by chance.
package compare
