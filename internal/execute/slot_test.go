package execute

import (
	"testing"
	"time"

	"github.com/distpool/distpool/internal/nested"
)

func TestAPassIsGivenUpWhileItsCallWaits(t *testing.T) {
	awaited := nested.Job{ID: "b", Task: "t", Queue: "q"}
	for name, enter := range map[string]func(*Executor) *Pass{
		"beside others": (*Executor).Share,
		"alone":         (*Executor).Alone,
	} {
		t.Run(name, func(t *testing.T) {
			e := executor().Executor
			free := func(want bool) {
				t.Helper()
				got := e.alone.TryLock()
				if got {
					e.alone.Unlock()
				}
				if got != want {
					t.Fatalf("others may run: %v, want %v", got, want)
				}
			}
			lasting := func(want int) {
				t.Helper()
				for end := time.Now().Add(10 * time.Second); len(e.Waits.Lasting()) != want; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("the slots that lasting waits hold are %+v, want %d", e.Waits.Lasting(), want)
					}
				}
			}
			r := e.New(&Chunk{Pass: enter(e)}, &host{})
			s := &callSlot{run: r}
			free(false)
			_, leave1 := s.Enter(awaited)
			_, leave2 := s.Enter(awaited)
			free(true)
			leave1()
			free(true) // the call still waits on another goroutine
			leave2()
			free(false)

			_, leave3 := s.Enter(awaited) // left behind by the call
			lasting(1)
			s.end()
			free(false)
			lasting(0)
			s.Enter(awaited) // by a goroutine that the call has left behind
			free(false)
			leave3()
			free(false)

			_, leave4 := (&callSlot{run: r}).Enter(awaited)
			r.chunk.Pass.End() // the call is abandoned while it waits
			free(true)
			leave4()
			free(true)
		})
	}
}

func TestNoChunkRunsBesideOneThatIsAlone(t *testing.T) {
	e := executor().Executor
	p := e.Alone()
	if other := e.TryShare(); other != nil {
		t.Error("another chunk runs beside it")
	}
	p.End()
	p.End() // once more does nothing
	other := e.TryShare()
	if other == nil {
		t.Fatal("no other chunk runs after it")
	}
	other.End()
}
