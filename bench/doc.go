// Command bench measures distpool beside its peers, with real processes on a real
// Redis, and checks every result exactly. `make bench` builds it into bin/bench.
//
//	REDIS_ADDR=127.0.0.1:6379 bench worker -conc 10          # until SIGTERM
//	REDIS_ADDR=127.0.0.1:6379 bench run W1 -n 20000 -conc 10 -g 64
//	bench compare                                            # all of it, see `make bench-compare`
//
// A run prints one JSON line for its measurement. Its workloads:
//
//	W1        N single calls of square from G goroutines, until all values are here
//	W2        one map of square over N ints, in chunks of K (0: automatic)
//	W3        one call and its value, N times in a row: percentiles
//	W4        memory of Redis for each of N queued calls; no worker may run
//	W4-map    the same, for each int of one queued map
//	W4-stored memory of Redis for each of N calls whose value it keeps
//	W4-left   what is in Redis once N calls have run and are forgotten
//	W5        N calls that sleep 10 ms on C slots, in one map, or with -g as
//	          single calls from G goroutines: ideal time / time
//	W6        a stream of N calls in any order, and the producer's peak heap
//	W7        idle workers: commands a second, and their processor time together
//	W8        W1, and what each call costs Redis
//	W9        N outstanding handles while nothing happens: commands a second
//	W10       N values of -size bytes there and back, beside plain SET and GET
//	W11       how many of the workers one call wakes, N times
//
// -impl names what is measured: distpool or one of its peers. The asynq-* ones are
// asynq by hand, as a good engineer would do it, each better than the one before;
// python-pool and python-threadpool are Python's multiprocessing.
//
// bench watch measures the monitor: how fast its pages answer with 100,000 jobs and a
// map of 1,000,000 calls in Redis, and what a call costs while browsers keep them open,
// beside what it costs without. See docs/monitor.md.
//
// bench growth measures what must not grow: the sizes of Redis, producer and worker under blocking
// calls (calls), what idle workers cost Redis (idle), the price of a call in a long queue (waiting),
// and of a job of very many chunks (chunks). See docs/performance.md.
//
// W4, W9 and W7 without a worker start one of their own when they need it. All
// else needs workers of the same -impl on the same Redis. Compare numbers of one
// run only, since machines and their load differ.
package main
