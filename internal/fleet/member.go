package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/nested"
)

const (
	// Lifetime is how long a worker counts as alive after a heartbeat. Several of them may get
	// lost or late on a busy machine before that.
	Lifetime = 5 * time.Second
	// BeatEvery is the time between two heartbeats.
	BeatEvery = 1500 * time.Millisecond
	// describeEvery is how long a description is not sent again if nothing in it has changed.
	describeEvery = 20 * BeatEvery
	// answerEvery is how many heartbeats go by between two looks at the questions.
	answerEvery = 2
)

// Member is a worker's own place in the fleet. Run, one supervisor and Troubled may be used at
// the same time.
type Member struct {
	Owners // of chunks
	rdb    redis.UniversalClient
	self   Worker
	log    *slog.Logger

	// Run has these.
	described   []byte // the description that Redis has; nil: not certain
	describedAt time.Time
	pulse       pulse

	term term // the supervisor has it

	troubled atomic.Int64 // when a heartbeat last failed or was slow; Unix time, ns
}

// New returns the member that self describes. It is none before it joins.
func New(rdb redis.UniversalClient, self Worker, log *slog.Logger) *Member {
	return &Member{Owners: Owners{rdb}, rdb: rdb, self: self, log: log}
}

// Join registers the worker. How other workers did before is not known, so it counts as
// troubled at first.
func (m *Member) Join(ctx context.Context) error {
	defer m.trouble()
	return m.beat(ctx, nil)
}

// Leave removes the worker from the registry. Before that it should Resign.
func (m *Member) Leave(ctx context.Context) error { return Unregister(ctx, m.rdb, m.self.ID) }

// Duties is what a worker does with its heartbeats. All run on the goroutine of Run.
type Duties struct {
	// Held returns the slots that are held by lasting waits for nested jobs.
	Held func() []nested.HeldSlot
	// Counts returns what the worker has done so far.
	Counts func() Counts
	// Answer gives the chunk of a question back if this worker does not run it.
	Answer func(context.Context, Question)
	// Then is called after each heartbeat that Redis took, with the slots of Held that it told.
	Then func(context.Context, []nested.HeldSlot)
}

// Run says that the worker is alive, until ctx ends.
func (m *Member) Run(ctx context.Context, d Duties) {
	ticker := time.NewTicker(BeatEvery)
	defer ticker.Stop()
	healthy := true
	m.pulse.next(time.Now(), Counts{}) // what happens before the first heartbeat counts, too
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		began := time.Now()
		held := d.Held()
		err := m.beat(ctx, held)
		if ctx.Err() != nil {
			return
		}
		if err != nil && healthy {
			m.log.Warn("Redis does not take this worker's heartbeat; will keep trying", "error", err)
		} else if err == nil && !healthy {
			m.log.Warn("Redis takes this worker's heartbeat again")
		}
		healthy = err == nil
		if !healthy || time.Since(began) > BeatEvery {
			m.trouble()
		}
		if !healthy {
			continue
		}
		m.publish(ctx, d.Counts())
		if n%answerEvery == 0 {
			questions, err := asked(ctx, m.rdb, m.self.ID)
			if err != nil {
				m.log.Debug("reading what this worker was asked failed", "error", err)
			}
			for _, q := range questions {
				d.Answer(ctx, q)
			}
		}
		d.Then(ctx, held)
	}
}

// beat is one heartbeat: a single PEXPIRE, unless Redis does not have the description, or has
// another one.
func (m *Member) beat(ctx context.Context, held []nested.HeldSlot) error {
	ctx, cancel := context.WithTimeout(ctx, Lifetime)
	defer cancel()
	self := m.self
	self.Held = held
	desc, err := json.Marshal(self)
	if err != nil {
		return err
	}
	same := bytes.Equal(desc, m.described) && time.Since(m.describedAt) < describeEvery
	m.described = nil
	if same {
		if same, err = m.rdb.PExpire(ctx, workerPrefix+self.ID, Lifetime).Result(); err != nil {
			return err
		}
	}
	if !same {
		if err := Register(ctx, m.rdb, self, Lifetime); err != nil {
			return err
		}
		m.describedAt = time.Now()
	}
	m.described = desc
	return nil
}

// publish publishes how this worker is doing, if that has changed. Nothing depends on it: what
// fails is tried again with the next heartbeat.
func (m *Member) publish(ctx context.Context, c Counts) {
	now := time.Now()
	s, changed := m.pulse.next(now, c)
	if !changed {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, Lifetime)
	defer cancel()
	data, err := json.Marshal(s)
	if err == nil && m.rdb.Set(ctx, statsPrefix+m.self.ID, data, remember).Err() == nil {
		m.pulse.published, m.pulse.at = &s, now
	}
}

func (m *Member) trouble() { m.troubled.Store(time.Now().UnixNano()) }

// Troubled reports whether a heartbeat failed or was slow not long ago. Those of other workers
// may then be missing for the same reason, and prove nothing.
func (m *Member) Troubled() bool {
	return time.Since(time.Unix(0, m.troubled.Load())) <= Lifetime
}

// Alive returns the IDs of the live workers. If it reports false, a worker that is not among them
// need not be dead: this worker is troubled.
func (m *Member) Alive(ctx context.Context) (map[string]bool, bool, error) {
	ws, err := Workers(ctx, m.rdb)
	if err != nil {
		return nil, false, err
	}
	alive := make(map[string]bool, len(ws))
	for _, w := range ws {
		alive[w.ID] = true
	}
	return alive, !m.Troubled(), nil
}
