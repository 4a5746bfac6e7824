package history

import (
	"fmt"
	"slices"
	"time"
)

// Rules says what the run may be excused for. See the rules of Check.
type Rules struct {
	// Bound is how soon after the end of a job or chunk was seen nothing of it begins
	// to run any more, when nothing is broken. Defaults to 3.1 s: the promised 100 ms,
	// and what a process may be held up by a busy machine.
	Bound time.Duration
	// Grace is how long after the end of a fault those whom it hit may still act on
	// what they knew before. Defaults to 8 s: the time after which a worker counts as
	// dead, and its successor's first look.
	Grace time.Duration
	// Deaths is how many workers must have died, or looked dead, in a chunk before one
	// of its calls may fail with worker_lost. Defaults to 3.
	Deaths int
}

func (r Rules) withDefaults() Rules {
	if r.Bound == 0 {
		r.Bound = 3100 * time.Millisecond
	}
	if r.Grace == 0 {
		r.Grace = 8 * time.Second
	}
	if r.Deaths == 0 {
		r.Deaths = 3
	}
	return r
}

// Rule names what was violated.
type Rule string

// The rules.
const (
	// RuleEnds: every accepted job is over at the end of the drain, and every handle
	// has its answer. A job whose deliveries are lost and for which nobody waits may need
	// somebody who does: if an operator has deleted them and its submitter was killed,
	// or if Redis may have lost them, and its submitter had its answer or was killed.
	RuleEnds Rule = "ends"
	// RuleWhole: an answer has one outcome for each call; a stream yields each call
	// once, an ordered one in order, and ends without an error only after the last.
	RuleWhole Rule = "whole"
	// RuleAgree: all answers about a job are the same, the record's at the end too.
	// Excused where Redis may have lost what the first of them saw.
	RuleAgree Rule = "agree"
	// RuleRan: an outcome was computed by a run of that call which came to it.
	RuleRan Rule = "ran"
	// RuleOnce: no run is the outcome of two calls.
	RuleOnce Rule = "once"
	// RuleRight: the outcome is the one that the plan foresees: the value of this very
	// call, or its failure after its last attempt.
	RuleRight Rule = "right"
	// RuleLost: a call fails with worker_lost only after so many faults that end or
	// silence workers, between its submission and its end.
	RuleLost Rule = "lost"
	// RuleTyped: a job as a whole ends without outcomes only as canceled, if somebody
	// asked for that; as expired or unknown, if Redis may have lost it; and a stream
	// that was cut short by a fault says so.
	RuleTyped Rule = "typed"
	// RuleRefused: a submission is refused only while something is broken.
	RuleRefused Rule = "refused"
	// RuleCanceled: nothing of a job begins to run once it was seen canceled.
	RuleCanceled Rule = "canceled"
	// RuleAgain: nothing of a chunk begins to run once its outcomes were seen.
	RuleAgain Rule = "again"
	// RuleAlive: no process ends by itself.
	RuleAlive Rule = "alive"
	// RuleHistory: the history itself makes sense. This is about the program that
	// wrote it.
	RuleHistory Rule = "history"
)

// Violation is a promise that was broken.
type Violation struct {
	Rule Rule
	Job  string // or the submission, where there is no job
	Text string
	At   time.Time
}

// String is one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s %s: %s: %s", v.At.Format("15:04:05.000"), v.Rule, v.Job, v.Text)
}

// Report is what a history comes to.
type Report struct {
	Violations  []Violation
	Faults      []Fault
	Skipped     int // faults that found nothing to break
	Jobs        int // that were accepted, streams included
	Refused     int // submissions
	Calls       int // outcomes of different calls that a caller or the record has shown
	Runs        int
	Excused     int // answers that differ where Redis may have lost what the first of them saw
	Canceled    int // jobs
	Lost        int // calls that failed with worker_lost
	Orphans     int // jobs that needed somebody to wait for them: see RuleEnds
	Expired     int // jobs whose record was lost
	Rerun       int // runs beyond the first of the same call and attempt
	Redelivered int // chunks that were taken over from a worker that was dead, or looked so
	Recoveries  []Recovery
}

// Check proves the promises on the events, which are in the order of their times.
func Check(events []Event, rules Rules) Report {
	c := &checker{
		rules: rules.withDefaults(), subs: map[string]*submission{}, jobs: map[string]*job{}, runs: map[string]*run{},
		handles: map[string]string{}, outcomes: map[callKey]seen{}, owner: map[string]callKey{},
	}
	for _, e := range events {
		c.index(e)
	}
	c.streams(events)
	c.answers()
	c.endings()
	c.begins()
	c.refusals(events)
	c.count()
	c.report.Recoveries = recoveries(events, c.report.Faults)
	slices.SortStableFunc(c.report.Violations, func(a, b Violation) int { return a.At.Compare(b.At) })
	return c.report
}

type (
	submission struct {
		plan     Plan
		at       int64
		accepted bool
		job      string
	}
	answer struct {
		at    int64
		who   string // handle, or what read the record
		outs  []Outcome
		err   string
		audit bool
	}
	job struct {
		id, sub   string
		accepted  int64 // 0: never, so far as is known
		asked     bool  // somebody asked to cancel it
		answers   []answer
		saws      []Event // outcomes that were seen before the end
		by        string  // the process that submitted it
		orphaned  int64   // when it was found to be; 0: never
		unended   string
		unendedAt int64
	}
	run struct {
		began   Event
		outcome Outcome
		ended   bool
	}
	callKey struct {
		sub  string
		call int
	}
	seen struct {
		outcome Outcome
		at      int64
		who     string
	}
)

type checker struct {
	rules    Rules
	report   Report
	subs     map[string]*submission
	jobs     map[string]*job
	runs     map[string]*run
	handles  map[string]string  // handle -> job
	outcomes map[callKey]seen   // the first one that was seen
	owner    map[string]callKey // run -> the call whose outcome it is
}

func (c *checker) violate(r Rule, job string, at int64, format string, args ...any) {
	c.report.Violations = append(c.report.Violations, Violation{r, job, fmt.Sprintf(format, args...), time.Unix(0, at)})
}

func (c *checker) job(id string) *job {
	j := c.jobs[id]
	if j == nil {
		j = &job{id: id}
		c.jobs[id] = j
	}
	return j
}

// index sorts an event in.
func (c *checker) index(e Event) {
	switch e.What {
	case Submit:
		if c.subs[e.Sub] == nil { // two submitters of a chosen ID submit the same
			c.subs[e.Sub] = &submission{plan: *e.Plan, at: e.At, job: e.Job}
		}
	case Accepted:
		s := c.subs[e.Sub]
		if s == nil {
			c.violate(RuleHistory, e.Job, e.At, "%s accepted without having been submitted", e.Sub)
			return
		}
		s.accepted = true
		if j := c.job(e.Job); j.accepted == 0 {
			j.accepted, j.sub, j.by = e.At, e.Sub, e.Process
		}
		c.handles[e.Handle] = e.Job
	case Attached:
		c.handles[e.Handle] = e.Job
	case Got:
		if e.Err != ErrClosed && e.Err != ErrTimeout {
			j := c.job(c.handles[e.Handle])
			j.answers = append(j.answers, answer{at: e.At, who: e.Handle, outs: e.Outs, err: e.Err})
		}
	case Saw:
		j := c.job(c.handles[e.Handle])
		j.saws = append(j.saws, e)
	case GaveUp:
		c.violate(RuleEnds, c.handles[e.Handle], e.At, "handle %s has no answer at the end of the drain", e.Handle)
	case CancelAsked:
		c.job(e.Job).asked = true
	case Audited:
		j := c.job(e.Job)
		j.answers = append(j.answers, answer{at: e.At, who: "the record", outs: e.Outs, err: e.Err, audit: true})
	case Orphaned:
		c.job(e.Job).orphaned = e.At
	case Unended:
		j := c.job(e.Job)
		j.unended, j.unendedAt = e.Text, e.At
	case Began:
		c.runs[e.Run] = &run{began: e}
	case Ran:
		r := c.runs[e.Run]
		if r == nil || len(e.Outs) != 1 {
			c.violate(RuleHistory, e.Job, e.At, "run %s ended without having begun", e.Run)
			return
		}
		r.outcome, r.ended = e.Outs[0], true
	case Injected:
		if e.Fault.Skipped {
			c.report.Skipped++
			return
		}
		c.report.Faults = append(c.report.Faults, *e.Fault)
		if e.Fault.Failed != "" {
			c.violate(RuleHistory, e.Fault.Kind, e.At, "the fault could not be injected or undone: %s", e.Fault.Failed)
		}
	case Died:
		c.violate(RuleAlive, e.Process, e.At, "%s", e.Text)
	case Refused:
		c.report.Refused++
	case Yielded, Left, Ended: // see streams
	}
}

// see notes an outcome that somebody was shown, and checks it.
func (c *checker) see(sub, job string, call int, o Outcome, at int64, who string) {
	k := callKey{sub, call}
	if first, ok := c.outcomes[k]; ok {
		if first.outcome == o {
			return // checked already
		}
		if c.mayHaveLost(first.at, at) {
			c.report.Excused++
		} else {
			c.violate(RuleAgree, job, at, "call %d: %s says %s, but %s said %s", call, who, o, first.who, first.outcome)
		}
	} else {
		c.outcomes[k] = seen{o, at, who}
	}
	c.computed(k, job, o, at, who)
}

// String is for violations.
func (o Outcome) String() string {
	if o.Kind == "" {
		return fmt.Sprintf("value %d of run %s", o.Value, o.Run)
	}
	return fmt.Sprintf("%s of run %s in attempt %d", o.Kind, o.Run, o.Attempts)
}

// computed checks that a run came to the outcome, and that it is right.
func (c *checker) computed(k callKey, job string, o Outcome, at int64, who string) {
	s := c.subs[k.sub]
	if s == nil {
		c.violate(RuleHistory, job, at, "an outcome of the unknown submission %q", k.sub)
		return
	}
	if o.Kind == KindWorkerLost {
		c.report.Lost++
		if n := c.silenced(s.at, at); n < c.rules.Deaths {
			c.violate(RuleLost, job, at, "call %d failed with %s, but only %d workers died or looked dead since it was submitted", k.call, o.Kind, n)
		}
		return
	}
	r := c.runs[o.Run]
	switch {
	case r == nil:
		c.violate(RuleRan, job, at, "call %d: %s says %s, which never began", k.call, who, o)
		return
	case !r.ended:
		c.violate(RuleRan, job, at, "call %d: %s says %s, which did not end", k.call, who, o)
		return
	case r.began.Sub != k.sub || r.began.Call != k.call:
		c.violate(RuleRan, job, at, "call %d: %s says %s, which is a run of call %d of %s", k.call, who, o, r.began.Call, r.began.Sub)
	case r.outcome.Kind != o.Kind || r.outcome.Value != o.Value:
		c.violate(RuleRan, job, at, "call %d: %s says %s, but the run came to %s", k.call, who, o, r.outcome)
	}
	if other, ok := c.owner[o.Run]; ok && other != k {
		c.violate(RuleOnce, job, at, "run %s is the outcome of call %d of %s and of call %d of %s", o.Run, other.call, other.sub, k.call, k.sub)
	}
	c.owner[o.Run] = k
	kind, attempts := s.plan.Final(k.call)
	switch {
	case o.Kind != kind:
		c.violate(RuleRight, job, at, "call %d: %s says %s, but the plan is %q", k.call, who, o, kind)
	case kind == "" && o.Value != Value(k.sub, k.call):
		c.violate(RuleRight, job, at, "call %d: %s says %s, but its value is %d", k.call, who, o, Value(k.sub, k.call))
	case r.began.Attempt != attempts || kind != "" && o.Attempts != attempts:
		c.violate(RuleRight, job, at, "call %d: %s says %s, of attempt %d, but the plan is attempt %d", k.call, who, o, r.began.Attempt, attempts)
	}
}

// mayHaveLost reports whether Redis may have lost, before the second of the two
// times, what it had at the first.
func (c *checker) mayHaveLost(from, to int64) bool {
	return slices.ContainsFunc(c.report.Faults, func(f Fault) bool {
		return f.Lossy && f.Start <= to && f.End+int64(c.rules.Grace) >= from
	})
}

// silenced counts the faults between the two times for which a worker may have
// died or looked dead.
func (c *checker) silenced(from, to int64) int {
	n := 0
	for _, f := range c.report.Faults {
		if f.Silent && f.Start <= to && f.End >= from {
			n++
		}
	}
	return n
}
