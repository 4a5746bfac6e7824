package record_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

func TestThereIsOneLeaderUntilItResignsOrDies(t *testing.T) {
	m := miniredis.RunT(t)
	c := redis.NewClient(&redis.Options{Addr: m.Addr()})
	defer func() { _ = c.Close() }()
	lead := func(id string) bool {
		ok, err := record.Lead(t.Context(), c, id, time.Minute)
		if err != nil {
			t.Error(err)
		}
		return ok
	}
	if !lead("a") || lead("b") || !lead("a") {
		t.Error("want one leader, a, until it resigns")
	}
	if err := record.Resign(t.Context(), c, "b"); err != nil || !lead("a") {
		t.Error("another's resignation changed the leader", err)
	}
	if err := record.Resign(t.Context(), c, "a"); err != nil || !lead("b") {
		t.Error("after a's resignation b does not lead", err)
	}
	m.FastForward(50 * time.Second)
	if ok, err := record.GoOnLeading(t.Context(), c, time.Minute); !ok || err != nil {
		t.Error("the leader cannot go on", err)
	}
	m.FastForward(50 * time.Second)
	if lead("a") {
		t.Error("a leads although b's term was lengthened")
	}
	m.FastForward(time.Minute + time.Second)
	if ok, err := record.GoOnLeading(t.Context(), c, time.Minute); ok || err != nil {
		t.Error("whoever has fallen silent for a term leads all the same", err)
	}
	if !lead("a") {
		t.Error("nobody took the place of a leader that fell silent")
	}
}
