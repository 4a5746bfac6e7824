package e2e_test

import (
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/redistest"
)

// What go-redis has to say of a Redis that is away is for Config.Logger, too.
func TestGoRedisDoesNotWritePastTheLogger(t *testing.T) {
	usual(t)
	t.Parallel()
	s := redistest.Start(t)
	e := newEnv(t, s.URL(), true)
	w := e.worker(t, 1, func(s *workerSpec) { s.Debug, s.Dies = true, true })
	must(t, s.Kill())
	eventually(t, "go-redis has said that it cannot connect", func() bool { return strings.Contains(e.log.String(), "failed to dial") })
	w.term()
	<-w.ended
	for line := range strings.Lines(e.log.String()) {
		if !strings.HasPrefix(line, "time=") && strings.Contains(line, "redis") {
			t.Errorf("written past the logger: %s", line)
		}
	}
	if !strings.Contains(e.log.String(), "level=DEBUG msg=\"go-redis: ") {
		t.Error("the logger has nothing of it")
	}
}
