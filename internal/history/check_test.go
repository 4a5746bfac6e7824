package history

import (
	"slices"
	"testing"
	"time"
)

// story makes histories by hand. Its clock stands still unless a test moves it.
type story struct {
	now    time.Duration
	events []Event
}

func (s *story) add(process string, e Event) *story {
	s.now += time.Millisecond
	e.Process, e.At = process, int64(s.now)
	s.events = append(s.events, e)
	return s
}

func (s *story) wait(d time.Duration) *story {
	s.now += d
	return s
}

// submitted is an accepted submission "s" as job "j", with the handle "h".
func (s *story) submitted(plan Plan) *story {
	s.add("p0.1", Event{What: Submit, Sub: "s", Plan: &plan})
	if plan.IsStream() {
		return s
	}
	return s.add("p0.1", Event{What: Accepted, Sub: "s", Job: "j", Handle: "h", Plan: &plan})
}

// began is the begin of a run of a call of "s" in chunk 0, as first attempt.
func (s *story) began(process, run string, call int) *story {
	return s.add(process, Event{What: Began, Sub: "s", Job: "j", Call: call, Attempt: 1, Delivery: 1, Worker: process, Run: run})
}

func (s *story) ran(process, run string, o Outcome) *story {
	o.Run = run
	return s.add(process, Event{What: Ran, Run: run, Outs: []Outcome{o}})
}

// value is the right value of a call of "s", computed by run.
func value(call int, run string) Outcome { return Outcome{Value: Value("s", call), Run: run} }

// run is a whole run of a call to its right value.
func (s *story) run(run string, call int) *story {
	return s.began("w0.1", run, call).ran("w0.1", run, value(call, run))
}

func (s *story) got(handle string, outs ...Outcome) *story {
	return s.add("p0.1", Event{What: Got, Handle: handle, Outs: outs})
}

func (s *story) failed(handle, err string) *story {
	return s.add("p0.1", Event{What: Got, Handle: handle, Err: err})
}

func (s *story) attached(handle string) *story {
	return s.add("p1.1", Event{What: Attached, Job: "j", Handle: handle})
}

func (s *story) audited(outs ...Outcome) *story {
	return s.add("driver", Event{What: Audited, Job: "j", Outs: outs})
}

func (s *story) fault(f Fault) *story {
	return s.add("driver", Event{What: Injected, Fault: &f})
}

var (
	single  = Plan{Verb: "apply", Calls: 1}
	double  = Plan{Verb: "map", Calls: 2}
	stream2 = Plan{Verb: "imap", Calls: 2}
)

func (s *story) yielded(call int, o Outcome) *story {
	return s.add("p0.1", Event{What: Yielded, Sub: "s", Call: call, Outs: []Outcome{o}})
}

// right is a history in which nothing is wrong.
func right() *story {
	return new(story).submitted(double).run("r0", 0).run("r1", 1)
}

func TestEachRuleFindsItsViolation(t *testing.T) {
	canceled := func() *story {
		return new(story).submitted(double).began("w0.1", "r0", 0).ran("w0.1", "r0", value(0, "r0")).
			add("p0.1", Event{What: CancelAsked, Job: "j"}).failed("h", ErrCanceled)
	}
	lossy := Fault{Kind: "failover", Lossy: true, Silent: true, Start: 1, End: int64(time.Minute)}
	for _, c := range []struct {
		name string
		s    *story
		want Rule // "" for none
	}{
		{"nothing is wrong", right().got("h", value(0, "r0"), value(1, "r1")).audited(value(0, "r0"), value(1, "r1")), ""},

		{"a job that does not end", right().add("driver", Event{What: Unended, Job: "j", Text: "sealed"}), RuleEnds},
		{"a job of which nobody knows what became", right(), RuleEnds},
		{"a handle without an answer", right().got("h", value(0, "r0"), value(1, "r1")).attached("g").add("p1.1", Event{What: GaveUp, Handle: "g"}), RuleEnds},

		{"a job that nobody looked after, and that ends when somebody does", orphaned("p0.1", "delete").audited(value(0, "r0"), value(1, "r1")), ""},
		{"such a job whose submitter lived", orphaned("p1.1", "delete").audited(value(0, "r0"), value(1, "r1")), RuleEnds},
		{"such a job whose deliveries were only archived", orphaned("p0.1", "archive").audited(value(0, "r0"), value(1, "r1")), RuleEnds},
		{"a job whose deliveries a failover lost after it was got", right().got("h", value(0, "r0"), value(1, "r1")).fault(lossy).
			add("driver", Event{What: Orphaned, Job: "j"}).audited(value(0, "r0"), value(1, "r1")), ""},
		{"such a job that nobody has got", right().fault(lossy).add("driver", Event{What: Orphaned, Job: "j"}).audited(value(0, "r0"), value(1, "r1")), RuleEnds},
		{"such a job that does not end", orphaned("p0.1", "delete").add("driver", Event{What: Unended, Job: "j", Text: "sealed"}), RuleEnds},

		{"an outcome too few", right().got("h", value(0, "r0")), RuleWhole},
		{"a stream that yields twice", new(story).submitted(stream2).run("r0", 0).yielded(0, value(0, "r0")).yielded(0, value(0, "r0")).add("p0.1", Event{What: Left, Sub: "s"}), RuleWhole},
		{"a stream out of order", new(story).submitted(stream2).run("r1", 1).yielded(1, value(1, "r1")).add("p0.1", Event{What: Left, Sub: "s"}), RuleWhole},
		{"a stream that ends early", new(story).submitted(stream2).run("r0", 0).yielded(0, value(0, "r0")).add("p0.1", Event{What: Ended, Sub: "s"}), RuleWhole},
		{"a stream that is left", new(story).submitted(stream2).run("r0", 0).yielded(0, value(0, "r0")).add("p0.1", Event{What: Left, Sub: "s"}), ""},
		{"a stream that goes on after its end", new(story).submitted(stream2).run("r0", 0).add("p0.1", Event{What: Left, Sub: "s"}).yielded(0, value(0, "r0")), RuleWhole},

		{"two handles that disagree", right().run("r2", 1).got("h", value(0, "r0"), value(1, "r1")).attached("g").got("g", value(0, "r0"), value(1, "r2")), RuleAgree},
		{"a record that disagrees with what was got", right().run("r2", 1).got("h", value(0, "r0"), value(1, "r1")).audited(value(0, "r0"), value(1, "r2")), RuleAgree},
		{"what was seen early disagrees with the end", right().run("r2", 1).add("p0.1", Event{What: Saw, Handle: "h", Call: 1, Outs: []Outcome{value(1, "r2")}}).got("h", value(0, "r0"), value(1, "r1")), RuleAgree},
		{"a value after the job was seen canceled", canceled().run("r1", 1).attached("g").got("g", value(0, "r0"), value(1, "r1")), RuleAgree},
		{"a failover that lost the first outcome", right().run("r2", 1).got("h", value(0, "r0"), value(1, "r1")).fault(lossy).audited(value(0, "r0"), value(1, "r2")), ""},

		{"an outcome of a run that never was", right().got("h", value(0, "r0"), value(1, "r9")), RuleRan},
		{"an outcome of a run that did not end", new(story).submitted(single).began("w0.1", "r0", 0).got("h", value(0, "r0")), RuleRan},
		{"an outcome that its run did not come to", new(story).submitted(single).began("w0.1", "r0", 0).ran("w0.1", "r0", Outcome{Value: 1}).got("h", value(0, "r0")), RuleRan},
		{"an outcome of another call's run", right().got("h", value(0, "r0"), value(1, "r0")), RuleRan},

		{"one run for two calls", right().got("h", value(0, "r0"), value(1, "r0")), RuleOnce},

		{"a wrong value", new(story).submitted(single).began("w0.1", "r0", 0).ran("w0.1", "r0", Outcome{Value: 1}).got("h", Outcome{Value: 1, Run: "r0"}), RuleRight},
		{"a failure that was not planned", new(story).submitted(single).began("w0.1", "r0", 0).ran("w0.1", "r0", Outcome{Kind: KindError}).got("h", Outcome{Kind: KindError, Run: "r0", Attempts: 1}), RuleRight},
		{"a failure that had attempts left", failing(1), RuleRight},
		{"a failure after its last attempt", failing(2), ""},

		{"a worker lost without a reason", new(story).submitted(single).got("h", Outcome{Kind: KindWorkerLost, Attempts: 1}), RuleLost},
		{"a worker lost after two deaths", deaths(2), RuleLost},
		{"a worker lost after three deaths", deaths(3), ""},

		{"a cancellation that nobody asked for", new(story).submitted(single).failed("h", ErrCanceled), RuleTyped},
		{"a record that Redis cannot have lost", new(story).submitted(single).failed("h", ErrExpired), RuleTyped},
		{"a record that Redis may have lost", new(story).submitted(single).fault(lossy).failed("h", ErrExpired), ""},
		{"an error of no type", new(story).submitted(single).failed("h", ErrOther), RuleTyped},
		{"a stream that fails for no reason", new(story).submitted(stream2).add("p0.1", Event{What: Ended, Sub: "s", Err: ErrOther}), RuleTyped},

		{"a refusal for no reason", new(story).add("p0.1", Event{What: Submit, Sub: "s", Plan: &single}).add("p0.1", Event{What: Refused, Sub: "s", Err: ErrOther}), RuleRefused},
		{"a refusal while another producer is cut off", new(story).fault(Fault{Kind: "cut", Target: "p1.1", Silent: true, Start: 1, End: int64(time.Minute)}).
			add("p0.1", Event{What: Submit, Sub: "s", Plan: &single}).add("p0.1", Event{What: Refused, Sub: "s", Err: ErrOther}), RuleRefused},
		{"a refusal while this one is", new(story).fault(Fault{Kind: "cut", Target: "p0.1", Silent: true, Start: 1, End: int64(time.Minute)}).
			add("p0.1", Event{What: Submit, Sub: "s", Plan: &single}).add("p0.1", Event{What: Refused, Sub: "s", Err: ErrOther}), ""},

		{"a run soon after the job was seen canceled", canceled().began("w0.1", "r1", 1), ""},
		{"a run long after the job was seen canceled", canceled().wait(4*time.Second).began("w0.1", "r1", 1), RuleCanceled},
		{"such a run of a worker that was frozen", canceled().fault(frozen("w0.1")).wait(4*time.Second).began("w0.1", "r1", 1), ""},
		{"such a run while another worker was frozen", canceled().fault(frozen("w1.1")).wait(4*time.Second).began("w0.1", "r1", 1), RuleCanceled},
		{"such a run longer after the freeze than is excused", canceled().fault(frozen("w0.1")).wait(13*time.Second).began("w0.1", "r1", 1), RuleCanceled},

		{"a run soon after its chunk was seen recorded", right().got("h", value(0, "r0"), value(1, "r1")).began("w1.1", "r2", 1), ""},
		{"a run long after its chunk was seen recorded", right().got("h", value(0, "r0"), value(1, "r1")).wait(4*time.Second).began("w1.1", "r2", 1), RuleAgain},

		{"a process that ends by itself", right().got("h", value(0, "r0"), value(1, "r1")).add("driver", Event{What: Died, Text: "w0.1: exit status 2"}), RuleAlive},

		{"an end without a beginning", right().got("h", value(0, "r0"), value(1, "r1")).ran("w0.1", "r7", value(0, "r7")), RuleHistory},
		{"a fault that could not be undone", right().got("h", value(0, "r0"), value(1, "r1")).fault(Fault{Kind: "cut", Failed: "no"}), RuleHistory},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Check(c.s.events, Rules{})
			var rules []Rule
			for _, v := range r.Violations {
				rules = append(rules, v.Rule)
			}
			switch {
			case c.want == "" && len(rules) > 0:
				t.Errorf("violations of a history that is right: %v", r.Violations)
			case c.want != "" && !slices.Contains(rules, c.want):
				t.Errorf("violations: %v, want one of the rule %q", r.Violations, c.want)
			}
		})
	}
}

// failing is a history of a call that fails each time, and was given up after so
// many of two attempts.
func failing(tried int) *story {
	s := new(story).submitted(Plan{Verb: "map", Calls: 4, Mix: Mixed, Retries: 1})
	outs := make([]Outcome, 4)
	for i := range 3 {
		run := string(rune('a' + i))
		s.run(run, i)
		outs[i] = value(i, run)
	}
	for n := 1; n <= tried; n++ {
		run := string(rune('w' + n))
		s.add("w0.1", Event{What: Began, Sub: "s", Job: "j", Call: 3, Attempt: n, Worker: "w0.1", Run: run})
		s.ran("w0.1", run, Outcome{Kind: KindError, Attempts: n})
		outs[3] = Outcome{Kind: KindError, Run: run, Attempts: n}
	}
	return s.got("h", outs...)
}

// orphaned is a history in which a process is killed, and an operator does
// something to deliveries of its job.
func orphaned(killed, operator string) *story {
	return right().fault(Fault{Kind: operator, Jobs: []string{"j"}}).fault(Fault{Kind: "kill-producer", Target: killed}).
		add("driver", Event{What: Orphaned, Job: "j"})
}

// deaths is a history in which a call is given up after the deaths of n workers.
func deaths(n int) *story {
	s := new(story).submitted(single)
	for range n {
		s.began("w0.1", string(rune('a'+n)), 0)
		s.now += time.Second
		s.fault(Fault{Kind: "kill-worker", Target: "w0.1", Silent: true, Start: int64(s.now), End: int64(s.now)})
	}
	return s.got("h", Outcome{Kind: KindWorkerLost, Attempts: 1})
}

// frozen is a fault of the first four seconds.
func frozen(process string) Fault {
	return Fault{Kind: "stop-worker", Target: process, Silent: true, Start: 1, End: int64(4 * time.Second)}
}
