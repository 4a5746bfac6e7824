package execute

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/observers"
)

// Executor runs the chunks of one worker. Its exported fields must not change while a chunk
// runs. The functions must be safe for concurrent use, and must not block.
type Executor struct {
	Worker    string               // the worker's ID
	Tasks     map[string]call.Task // by name
	MaxResult int                  // the largest encoded value of a call, in bytes
	MaxDeaths int                  // when so many workers have died in a chunk, a call of it is given up
	Exact     bool                 // each call is counted when it ends, not a few together

	Draining *atomic.Bool // no call begins any more
	// Count adds calls that ended, and the time that they took together.
	Count func(calls int, took time.Duration)
	// CountFailure adds a call that failed for good.
	CountFailure func()
	// Recycle is called when foreign code has passed its HardTimeout. It keeps its
	// goroutine, so the process should end.
	Recycle func()

	Observers *observers.Worker // of calls; nil: neither they nor the debug log want to know of calls
	Debug     bool              // the log wants to know how each call ended
	Log       *slog.Logger

	alone sync.RWMutex // held for writing by a chunk that must not run beside others, for reading by the others; see Pass
}
