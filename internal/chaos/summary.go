package chaos

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/history"
)

// Summary is what came of a run.
type Summary struct {
	Config Config
	history.Report
}

// shown is how many violations are spelled out.
const shown = 40

// Print writes the summary; its last line is the same that [Summary.Line]
// returns.
func (s *Summary) Print(w io.Writer) {
	byKind := map[string][]time.Duration{}
	for _, f := range s.Faults {
		byKind[f.Kind] = append(byKind[f.Kind], nil...)
	}
	counts := map[string]int{}
	for _, f := range s.Faults {
		counts[f.Kind]++
	}
	for _, r := range s.Recoveries {
		byKind[r.Fault.Kind] = append(byKind[r.Fault.Kind], r.Took)
	}
	fmt.Fprintf(w, "\n%-14s %6s   %s\n", "fault", "times", "recovery: p50, max")
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		p50, worst := spread(byKind[kind])
		fmt.Fprintf(w, "%-14s %6d   %v, %v\n", kind, counts[kind], p50, worst)
	}
	p50, worst := s.recovery()
	fmt.Fprintf(w, "%-14s %6d   %v, %v\n\n", "all", len(s.Faults), p50, worst)
	fmt.Fprintf(w, "jobs accepted        %8d   refused %d, canceled %d, lost by Redis %d\n", s.Jobs, s.Refused, s.Canceled, s.Expired)
	fmt.Fprintf(w, "calls with outcomes  %8d   of these failed with worker_lost %d\n", s.Calls, s.Lost)
	fmt.Fprintf(w, "runs                 %8d   of these again for the same attempt %d\n", s.Runs, s.Rerun)
	fmt.Fprintf(w, "redeliveries         %8d   chunks that were taken over from a worker that was dead, or looked so\n", s.Redelivered)
	fmt.Fprintf(w, "faults without aim   %8d   there was nothing to break\n", s.Skipped)
	fmt.Fprintf(w, "jobs left alone      %8d   submitter killed, and deliveries deleted or lost; over once somebody attached\n", s.Orphans)
	if s.Excused > 0 {
		fmt.Fprintf(w, "answers that differ  %8d   where a failover may have lost what the first one saw\n", s.Excused)
	}
	s.printSlowest(w)
	for i, v := range s.Violations {
		if i == shown {
			fmt.Fprintf(w, "... and %d more\n", len(s.Violations)-shown)
			break
		}
		fmt.Fprintf(w, "VIOLATION %s\n", v)
	}
	fmt.Fprintf(w, "\n%s\n", s.Line())
}

// slowest is how many of the longest recoveries are told of.
const slowest = 3

// printSlowest names what the longest recoveries waited for, so that the histories
// and logs can be searched for it.
func (s *Summary) printSlowest(w io.Writer) {
	rs := slices.SortedFunc(slices.Values(s.Recoveries), func(a, b history.Recovery) int { return cmp.Compare(b.Took, a.Took) })
	for _, r := range rs[:min(len(rs), slowest)] {
		who := r.Fault.Target
		if who != "" {
			who = " of " + who
		}
		fmt.Fprintf(w, "long recovery        %v after %s%s at %s", r.Took.Round(time.Millisecond), r.Fault.Kind, who,
			time.Unix(0, r.Fault.End).Format("15:04:05.000"))
		if r.Job != "" {
			fmt.Fprintf(w, ": job %s, submitted by %s", r.Job, r.By)
		}
		if r.Again > 0 {
			fmt.Fprintf(w, "; hit again by later faults: %d", r.Again)
		}
		fmt.Fprintln(w)
	}
}

// Line is the summary in one line.
func (s *Summary) Line() string {
	_, worst := s.recovery()
	return fmt.Sprintf("chaos: seed=%d faults=%d calls=%d recovery_max=%.1fs violations=%d",
		s.Config.Seed, len(s.Faults), s.Calls, worst.Seconds(), len(s.Violations))
}

func (s *Summary) recovery() (p50, worst time.Duration) {
	var all []time.Duration
	for _, r := range s.Recoveries {
		all = append(all, r.Took)
	}
	return spread(all)
}

func spread(ds []time.Duration) (p50, worst time.Duration) {
	if len(ds) == 0 {
		return 0, 0
	}
	slices.Sort(ds)
	return ds[len(ds)/2].Round(time.Millisecond), ds[len(ds)-1].Round(time.Millisecond)
}
