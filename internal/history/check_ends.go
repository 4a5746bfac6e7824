package history

import "slices"

// answers checks what handles and the record said about jobs.
func (c *checker) answers() {
	for _, j := range c.jobs {
		s := c.subs[j.sub]
		if s == nil {
			if len(j.answers) > 0 {
				s, j.sub = c.chosen(j.id)
			}
			if s == nil {
				continue // only runs or a request to cancel are known of it
			}
		}
		for _, e := range j.saws {
			c.see(j.sub, j.id, e.Call, e.Outs[0], e.At, e.Handle)
		}
		var first *answer
		for i := range j.answers {
			a := &j.answers[i]
			switch {
			case a.err != "":
				c.failedWhole(j, s, a)
			case len(a.outs) != s.plan.Calls:
				c.violate(RuleWhole, j.id, a.at, "%s has %d outcomes for %d calls", a.who, len(a.outs), s.plan.Calls)
			default:
				for call, o := range a.outs {
					c.see(j.sub, j.id, call, o, a.at, a.who)
				}
			}
			if first == nil {
				first = a
			} else if first.err != a.err && !isGone(a.err) {
				if c.mayHaveLost(first.at, a.at) {
					c.report.Excused++
				} else {
					c.violate(RuleAgree, j.id, a.at, "%s says %s, but %s said %s", a.who, said(a.err), first.who, said(first.err))
				}
			}
		}
	}
}

func said(err string) string {
	if err == "" {
		return "that it has outcomes"
	}
	return err
}

// isGone reports whether the error is that of a record that Redis does not have.
func isGone(err string) bool { return err == ErrExpired || err == ErrUnknown }

// chosen finds the submission of a job whose ID was chosen, and whose acceptance
// nobody lived to write down.
func (c *checker) chosen(job string) (*submission, string) {
	for name, s := range c.subs {
		if s.job == job {
			return s, name
		}
	}
	return nil, ""
}

// failedWhole checks an answer without outcomes.
func (c *checker) failedWhole(j *job, s *submission, a *answer) {
	switch {
	case a.err == ErrCanceled && j.asked:
	case isGone(a.err) && c.mayHaveLost(s.at, a.at):
		c.report.Expired++
	case a.err == ErrCanceled:
		c.violate(RuleTyped, j.id, a.at, "%s says that it was canceled, which nobody asked for", a.who)
	case isGone(a.err):
		c.violate(RuleTyped, j.id, a.at, "%s says %s, but Redis cannot have lost it", a.who, a.err)
	default:
		c.violate(RuleTyped, j.id, a.at, "%s failed with %s", a.who, a.err)
	}
}

// endings checks that all that was accepted is over.
func (c *checker) endings() {
	audited := false
	for _, j := range c.jobs {
		audited = audited || slices.ContainsFunc(j.answers, func(a answer) bool { return a.audit })
	}
	for _, j := range c.jobs {
		if j.accepted == 0 || c.subs[j.sub].plan.IsStream() {
			continue
		}
		c.report.Jobs++
		if slices.ContainsFunc(j.answers, func(a answer) bool { return a.err == ErrCanceled }) {
			c.report.Canceled++
		}
		if j.orphaned != 0 {
			c.report.Orphans++
		}
		if j.orphaned != 0 && !c.mayBeOrphaned(j) {
			c.violate(RuleEnds, j.id, j.orphaned, "it was accepted as %s and did not end by itself, although its deliveries were not deleted or its submitter lived", j.sub)
		}
		switch {
		case j.unended != "":
			c.violate(RuleEnds, j.id, j.unendedAt, "it was accepted as %s and is not over: %s", j.sub, j.unended)
		case !slices.ContainsFunc(j.answers, func(a answer) bool { return a.audit || !audited }):
			c.violate(RuleEnds, j.id, j.accepted, "it was accepted as %s, and what became of it is not known", j.sub)
		}
	}
}

// mayBeOrphaned reports whether nobody looked after the job: its submitter was
// killed, after an operator deleted deliveries of it; or Redis may have lost its
// deliveries, and its submitter was killed or had its answer before that.
func (c *checker) mayBeOrphaned(j *job) bool {
	deleted, killed := false, false
	for _, f := range c.report.Faults {
		deleted = deleted || f.Kind == "delete" && slices.Contains(f.Jobs, j.id)
		killed = killed || f.Kind == "kill-producer" && f.Target == j.by
	}
	answered := slices.ContainsFunc(j.answers, func(a answer) bool { return !a.audit })
	return killed && deleted || (killed || answered) && c.mayHaveLost(j.accepted, j.orphaned)
}

// refusals checks that submissions are refused only while something is broken.
func (c *checker) refusals(events []Event) {
	began := map[string]int64{} // by process and submission
	for _, e := range events {
		k := e.Process + " " + e.Sub
		switch e.What {
		case Submit:
			began[k] = e.At
		case Refused:
			if !c.broken(e.Process, began[k], e.At) {
				c.violate(RuleRefused, e.Sub, e.At, "it was refused, but nothing was broken: %s", e.Text)
			}
		default:
		}
	}
}

// broken reports whether something was broken for the process, or for Redis and so
// everybody, between the two times or a grace before them.
func (c *checker) broken(process string, from, to int64) bool {
	return slices.ContainsFunc(c.report.Faults, func(f Fault) bool {
		return f.Silent && (f.Target == "" || f.Target == process) && f.Start <= to && f.End+int64(c.rules.Grace) >= from
	})
}

// stream is a loop over a stream, as it goes on.
type stream struct {
	s     *submission
	next  int
	seen  map[int]bool
	over  bool
	began int64
}

// streams checks what loops over streams yielded. Their outcomes come to nobody
// else, and their records are gone when they end.
func (c *checker) streams(events []Event) {
	live := map[string]*stream{}
	for _, e := range events {
		switch e.What {
		case Submit:
			if e.Plan.IsStream() {
				live[e.Sub] = &stream{s: c.subs[e.Sub], seen: map[int]bool{}, began: e.At}
				c.report.Jobs++
			}
		case Yielded, Left, Ended:
			if st := live[e.Sub]; st != nil {
				c.streamed(st, e)
			} else {
				c.violate(RuleHistory, e.Sub, e.At, "%s of a stream that was not begun", e.What)
			}
		default:
		}
	}
}

func (c *checker) streamed(st *stream, e Event) {
	if st.over {
		c.violate(RuleWhole, e.Sub, e.At, "%s after the end of the stream", e.What)
	}
	plan := st.s.plan
	switch e.What {
	case Yielded:
		if st.seen[e.Call] || e.Call < 0 || e.Call >= plan.Calls || plan.Verb == "imap" && e.Call != st.next {
			c.violate(RuleWhole, e.Sub, e.At, "call %d was yielded after %d others, of %d in all, by %s", e.Call, len(st.seen), plan.Calls, plan.Verb)
		}
		st.seen[e.Call] = true
		st.next = e.Call + 1
		c.see(e.Sub, e.Sub, e.Call, e.Outs[0], e.At, "the loop")
	case Left:
		st.over = true
	case Ended:
		st.over = true
		switch {
		case e.Err == "" && len(st.seen) != plan.Calls:
			c.violate(RuleWhole, e.Sub, e.At, "it ended after %d of %d calls without an error", len(st.seen), plan.Calls)
		case e.Err != "" && e.Err != ErrClosed && !c.broken(e.Process, st.began, e.At):
			c.violate(RuleTyped, e.Sub, e.At, "it failed with %s although nothing was broken: %s", e.Err, e.Text)
		}
	default:
	}
}
