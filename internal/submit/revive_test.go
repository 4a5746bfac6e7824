package submit

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/fleet"
)

func TestTheLogSaysOnceThatNoWorkerServesAQueue(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { rdb.Close() })
	var log bytes.Buffer
	p := &Pool{Config: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, said: map[string]time.Time{}}
	look := func(queue string) {
		p.fleet = fleet.NewView(rdb) // as when a second has passed
		p.sayUnserved(t.Context(), &await.Job{ID: "j", Queue: queue, Task: "square"})
	}
	says := func(when string, first, second int) {
		t.Helper()
		for queue, n := range map[string]int{"first": first, "second": second} {
			if got := strings.Count(log.String(), "queue="+queue+" job=j task=square"); got != n {
				t.Errorf("%s: the log names queue %s %d times, want %d:\n%s", when, queue, got, n, &log)
			}
		}
	}
	look("first")
	look("first")
	look("second")
	says("without workers", 1, 1)
	w := fleet.Worker{ID: "w", Queues: map[string]int{"first": 1}}
	if err := fleet.Register(t.Context(), rdb, w, time.Minute); err != nil {
		t.Fatal(err)
	}
	look("first")
	look("second")
	says("with a worker on the first", 1, 1)
	if err := fleet.Unregister(t.Context(), rdb, w.ID); err != nil {
		t.Fatal(err)
	}
	look("first")
	look("first")
	says("when it has left", 2, 1)
}
