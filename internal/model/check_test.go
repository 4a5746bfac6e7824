package model_test

import (
	"errors"
	"fmt"
	"slices"

	"github.com/distpool/distpool/results"
)

// check compares what the handle says with the model, and with what any handle of
// the job said before.
func (p *program) check(n int, j *job, h handle) error {
	vs, err := h.get(patience)
	if errors.Is(err, results.ErrTimeout) {
		return fmt.Errorf("job %d did not end in %v", n, patience)
	}
	said := fmt.Sprint(vs, err)
	if errors.Is(err, results.ErrCanceled) {
		said = "canceled"
	}
	if j.terminated && said == "canceled" {
		return nil
	}
	if j.seen == "" {
		j.seen = said
	}
	if said != j.seen {
		return fmt.Errorf("job %d said %s, and now %s", n, j.seen, said)
	}
	switch {
	case said == "canceled" && j.state != finishes:
		return nil
	case j.state == canceled || said == "canceled":
		return fmt.Errorf("job %d says %s; canceled by the model: %t", n, said, j.state == canceled)
	}
	return p.values(n, j, vs, err)
}

func (p *program) values(n int, j *job, vs []int, err error) error {
	var bad []int
	if e, ok := errors.AsType[*results.TaskError](err); ok && j.single {
		bad = []int{e.Call}
	}
	if e, ok := errors.AsType[*results.MapError](err); ok {
		for _, e := range e.Errors {
			bad = append(bad, e.Call)
		}
	}
	var want, wantBad []int
	for i, a := range j.args {
		if broken(a) {
			want, wantBad = append(want, 0), append(wantBad, i)
		} else {
			want = append(want, a+1)
		}
	}
	if !slices.Equal(vs, want) || !slices.Equal(bad, wantBad) || (err == nil) != (len(wantBad) == 0) {
		return fmt.Errorf("job %d of %v is %v, failed %v (%w); want %v, failed %v", n, j.args, vs, bad, err, want, wantBad)
	}
	return nil
}
