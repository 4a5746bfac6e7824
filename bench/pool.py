"""Python's own pools under the workloads of bench: W1, W2, W3, W5 and W6.

bench runs it as `bench run W1 -impl python-pool`; it stands alone, too:
    python3 pool.py W1 -impl python-pool -n 20000 -conc 10

Standard library only. Each measurement is one JSON line, as bench prints it, and
every value is checked, outside of the time that is measured.
"""
import argparse
import json
import multiprocessing
import multiprocessing.pool
import resource
import sys
import time

NAP = 0.010  # seconds that a call of sleep takes


def square(n):
    return n * n


def sleep(n):
    time.sleep(NAP)
    return n * n


def check(values, n):
    if values != [i * i for i in range(n)]:
        sys.exit("wrong values")


def singles(pool, task, n):
    # One thread submits: more of them only get into each other's way.
    handles = [pool.apply_async(task, (i,)) for i in range(n)]
    return [h.get() for h in handles]


def speed(w, n, run):
    started, cpu = time.perf_counter(), time.process_time()
    values = run()
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    return values, {"w": w, "n": n, "sec": round(took, 6), "rate": round(n / took, 1), "prod_cpu_s": round(cpu, 3)}


def measure(pool, a):
    if a.w == "W1":
        values, line = speed(a.w, a.n, lambda: singles(pool, square, a.n))
    elif a.w == "W2":
        args = list(range(a.n))
        values, line = speed(a.w, a.n, lambda: pool.map(square, args, a.chunk or None))
    elif a.w == "W3":
        values, took = [], []
        for i in range(a.n):
            started = time.perf_counter()
            v = pool.apply(square, (i,))
            took.append(1000 * (time.perf_counter() - started))
            values.append(v)
        took.sort()
        at = lambda share: round(took[min(int(share * len(took)), len(took) - 1)], 4)
        line = {"w": a.w, "n": a.n, "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1)}
    elif a.w == "W5":
        args = list(range(a.n))
        started = time.perf_counter()
        values = singles(pool, sleep, a.n) if a.g else pool.map(sleep, args, a.chunk or None)
        took = time.perf_counter() - started
        line = {"w": a.w, "n": a.n, "sec": round(took, 6), "eff": round(NAP * a.n / a.conc / took, 4)}
    elif a.w == "W6":
        # Its default of 1 is ten times slower. The values are kept for the check,
        # so the memory of this process grows with n.
        values, line = speed(a.w, a.n, lambda: list(pool.imap_unordered(square, range(a.n), a.chunk or 1000)))
        line["heap_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 2)
        values.sort()
    else:
        sys.exit("Python's pools have no workload %r; use W1, W2, W3, W5 or W6" % a.w)
    check(values, a.n)
    return line


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("w", metavar="W", help="the workload")
    p.add_argument("-impl", choices=["python-pool", "python-threadpool"], default="python-pool")
    p.add_argument("-n", type=int, required=True, help="number of calls")
    p.add_argument("-conc", type=int, default=10, help="processes or threads")
    p.add_argument("-g", type=int, default=0, help="W5: single calls; the number does not matter")
    p.add_argument("-chunk", type=int, default=0, help="calls that travel together; 0 is automatic")
    a = p.parse_args()
    make = multiprocessing.Pool if a.impl == "python-pool" else multiprocessing.pool.ThreadPool
    with make(a.conc) as pool:
        check(pool.map(square, range(100), 1), 100)  # all processes are there
        line = measure(pool, a)
    print(json.dumps(line, separators=(",", ":")))


if __name__ == "__main__":
    main()
