package tasks_test

import (
	"context"
	"testing"

	"github.com/distpool/distpool/tasks"
)

// keeps is a type that keeps what it is given to decode.
type keeps struct{ data []byte }

func (k *keeps) UnmarshalJSON(data []byte) error {
	k.data = data
	return nil
}

// UnmarshalJSON must not keep its input. Where it does, and the task changes that, other
// attempts and other calls have their arguments all the same.
func TestAnArgumentThatKeepsItsInputHarmsNoOther(t *testing.T) {
	got := ""
	task := tasks.Define("keeps", func(_ context.Context, k keeps) (int, error) {
		got = string(k.data)
		clear(k.data[:cap(k.data)])
		return 0, nil
	})
	for _, split := range []bool{false, true} {
		c, err := tasks.Erase(task).Chunk([]byte(`["a","b"]`), 2)
		if err != nil {
			t.Fatal(err)
		}
		if !split {
			if err := c.DecodeAll(0, true); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range []string{`"a"`, `"b"`, `"a"`} {
			call := i % 2
			if err := c.Load(call, split || i > 0); err != nil {
				t.Fatalf("split %t, attempt %d: %v", split, i, err)
			}
			if err := c.Call(t.Context(), call); err != nil || got != want {
				t.Errorf("split %t, attempt %d: the argument is %s, want %s; %v", split, i, got, want, err)
			}
		}
	}
}
