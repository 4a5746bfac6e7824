// Package bench holds the benchmarks: distpool beside asynq as one uses it by
// hand, on the same real Redis in the same run. `make bench` runs them; compare
// the lines within one run only, since machines and their load differ.
package bench
