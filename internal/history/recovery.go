package history

import (
	"slices"
	"time"
)

// Recovery is how long it took from the end of a fault until what it had hit
// worked again:
//
//   - a fault that hit a worker: until the last of the calls that it was running
//     then, and that a caller still wanted, came to an outcome, wherever;
//   - one that hit deliveries: until the last of their jobs was over, those aside that
//     nobody looked after. A job whose submitter was killed has no answer before the
//     auditor asks for it, so its record says when it was over;
//   - one that hit a producer: until its next accepted submission or answer, or
//     that of the process that took its place;
//   - one that hit Redis: until that was so for every producer that lived.
type Recovery struct {
	Fault Fault
	Took  time.Duration
	Job   string // the one that took longest; "" where it is a producer, or Redis, that came back
	By    string // the process that submitted Job
	// Again counts the later faults that hit deliveries of Job before it was over.
	Again int
}

// sign is a sign of life.
type sign struct {
	at    int64
	place string // of the producer: its name without the number of its start
}

// Place is the name of a process without the number that tells its starts apart:
// "p1.3" is the third start of "p1".
func Place(process string) string {
	for i := range process {
		if process[i] == '.' {
			return process[:i]
		}
	}
	return process
}

// recoveries finds for each fault how long its effects lasted. Faults that hit
// nothing, or whose effects ended with the run, are not in the result.
func recoveries(events []Event, faults []Fault) []Recovery {
	t := traces{
		over: map[string]int64{}, by: map[string]string{}, orphans: map[string]bool{}, ends: map[callKey][]int64{}, places: map[string]bool{},
	}
	t.read(events)
	var rs []Recovery
	for _, f := range faults {
		until, job := t.until(f)
		if until == 0 {
			continue
		}
		r := Recovery{Fault: f, Took: time.Duration(max(0, until-f.End)), Job: job, By: t.by[job]}
		for _, other := range faults {
			if len(f.Jobs) > 0 && other.End > f.End && other.End < until && slices.Contains(other.Jobs, job) {
				r.Again++
			}
		}
		rs = append(rs, r)
	}
	return rs
}

// traces is what of a history tells that something works again.
type traces struct {
	signs   []sign
	places  map[string]bool
	over    map[string]int64    // job -> when its outcomes were there: its first answer, or what its record says
	by      map[string]string   // job -> who submitted it
	orphans map[string]bool     // jobs that nobody looked after
	ends    map[callKey][]int64 // when runs of the call ended
	runs    []span
}

// span is one run.
type span struct {
	Event
	end int64 // 0: never
}

func (t *traces) read(events []Event) {
	jobOf := map[string]string{}
	at := map[string]int{}
	answered := func(job, err string, when int64) {
		if at, ok := t.over[job]; err == "" && (!ok || when < at) {
			t.over[job] = when
		}
	}
	for _, e := range events {
		alive := e.What == Accepted || e.What == Yielded
		switch e.What {
		case Accepted, Attached:
			jobOf[e.Handle] = e.Job
			if e.What == Accepted && t.by[e.Job] == "" {
				t.by[e.Job] = e.Process
			}
		case Began:
			at[e.Run] = len(t.runs)
			t.runs = append(t.runs, span{Event: e})
		case Ran:
			if i, ok := at[e.Run]; ok {
				r := &t.runs[i]
				r.end = e.At
				k := callKey{r.Sub, r.Call}
				t.ends[k] = append(t.ends[k], e.At)
			}
		case Got:
			answered(jobOf[e.Handle], e.Err, e.At)
			alive = e.Err == ""
		case Audited:
			when := e.At
			if e.Finished > 0 {
				when = e.Finished
			}
			answered(e.Job, e.Err, when)
		case Orphaned:
			t.orphans[e.Job] = true
		default:
		}
		if alive {
			place := Place(e.Process)
			t.signs = append(t.signs, sign{e.At, place})
			t.places[place] = true
		}
	}
}

// until is when all that the fault hit worked again, 0 if that is not known; and the
// job that was the last to do so.
func (t *traces) until(f Fault) (until int64, last string) {
	later := func(at int64, job string) {
		if at > until {
			until, last = at, job
		}
	}
	switch {
	case len(f.Jobs) > 0:
		for _, id := range f.Jobs {
			if !t.orphans[id] {
				later(t.over[id], id)
			}
		}
	case f.Target == "":
		for place := range t.places {
			later(t.signAfter(f.End, place), "")
		}
	case f.Target[0] == 'w':
		for _, r := range t.runs {
			running := r.Process == f.Target && r.At <= f.Start && (r.end == 0 || r.end > f.Start)
			if _, wanted := t.over[r.Job]; !running || !wanted {
				continue
			}
			ends := t.ends[callKey{r.Sub, r.Call}]
			if i := slices.IndexFunc(ends, func(at int64) bool { return at > f.Start }); i >= 0 {
				later(ends[i], r.Job)
			}
		}
	default:
		later(t.signAfter(f.End, Place(f.Target)), "")
	}
	return until, last
}

// signAfter is when the place gave its first sign of life after a time; 0: never.
func (t *traces) signAfter(at int64, place string) int64 {
	i := slices.IndexFunc(t.signs, func(s sign) bool { return s.at > at && s.place == place })
	if i < 0 {
		return 0
	}
	return t.signs[i].at
}
