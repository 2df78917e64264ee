// Package report presents a run of the benchmarks: as tables for a terminal, as Markdown, and as a
// self-contained page with charts.
//
// Every number shown is the median over a cell's rounds. A ratio is between two such medians, the
// variant's and that of the run's baseline under the same load. A figure that no variant of a load
// has gets no column. A variant with a star has rounds that were kept although other load disturbed
// them.
//
// gonum.org/v1/plot draws the charts as SVG, because SVG needs no script in the page and prints as
// it looks.
package report
