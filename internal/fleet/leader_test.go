package fleet

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

func TestThereIsOneLeaderUntilItResignsOrDies(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := client(t, server)
	a, b := member(rdb, "a"), member(rdb, "b")
	leads := func(m *Member) bool {
		t.Helper()
		ok, err := m.Lead(t.Context())
		if err != nil {
			t.Error(err)
		}
		return ok
	}
	if !leads(a) || leads(b) || !leads(a) {
		t.Error("want one leader, a, until it resigns")
	}
	if err := b.Resign(t.Context()); err != nil || !leads(a) {
		t.Error("another's resignation changed the leader", err)
	}
	if err := a.Resign(t.Context()); err != nil || !leads(b) {
		t.Error("after a's resignation b does not lead", err)
	}
	server.FastForward(termLength - time.Second)
	if !leads(b) {
		t.Error("the leader does not lead on")
	}
	server.FastForward(termLength - time.Second)
	if leads(a) {
		t.Error("a leads although b's term was lengthened")
	}
	server.FastForward(termLength)
	if !leads(a) {
		t.Error("no worker took the place of a leader that fell silent")
	}
	for range leaderEvery {
		leads(b)
	}
	if leads(b) {
		t.Error("a leader that fell silent for a term leads all the same")
	}
}

func TestALeaderThatStoodStillAsksWhichWorkerLeads(t *testing.T) {
	rdb := client(t, miniredis.RunT(t))
	m := member(rdb, "w")
	lead := func() bool {
		t.Helper()
		ok, err := m.Lead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	lead()
	if err := rdb.Set(t.Context(), leaderKey, "another", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	m.term.began = m.term.began.Add(-termLength)
	if lead() {
		t.Error("after its term it leads")
	}
	m.term.began = time.Now() // as if Redis had lost its key, and another been quicker
	rounds := 0
	for rounds < 20 && lead() {
		rounds++
	}
	if rounds >= leaderEvery {
		t.Errorf("it took %d rounds to find that another leads", rounds)
	}
}
