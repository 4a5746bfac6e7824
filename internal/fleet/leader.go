package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// termLength is how long a leader that died keeps others from taking its place.
	termLength = 5 * time.Second
	// leaderEvery is how many calls of Lead go by between two that read which worker leads: in
	// between the leader knows, since its term goes on.
	leaderEvery = 4
)

// term is what a member knows of its leadership.
type term struct {
	asked int       // calls of Lead so far
	began time.Time // when the term began that the member knows to be its own; zero: it does not lead
}

// Lead reports whether this worker leads for the next term of 5 s: it did already, or no worker
// does. A leader calls it at least every 2 s. Should two workers lead for a moment, they only do
// the same harmless work twice.
func (m *Member) Lead(ctx context.Context) (lead bool, err error) {
	began := time.Now()
	if m.term.asked++; m.term.asked%leaderEvery != 0 && began.Sub(m.term.began) < termLength {
		lead, err = m.rdb.PExpire(ctx, leaderKey, termLength).Result()
	}
	if !lead && err == nil {
		lead, err = m.elect(ctx)
	}
	m.term.began = time.Time{}
	if lead && err == nil {
		m.term.began = began
	}
	return lead, err
}

// elect reads which worker leads, and has this one lead if there is none.
func (m *Member) elect(ctx context.Context) (bool, error) {
	leader, err := m.rdb.Get(ctx, leaderKey).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return m.rdb.SetNX(ctx, leaderKey, m.self.ID, termLength).Result()
	case err != nil || leader != m.self.ID:
		return false, err
	}
	return true, m.rdb.PExpire(ctx, leaderKey, termLength).Err()
}

// Resign lets another worker lead at once.
func (m *Member) Resign(ctx context.Context) error {
	leader, err := m.rdb.Get(ctx, leaderKey).Result()
	if err != nil || leader != m.self.ID {
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return err
	}
	return m.rdb.Del(ctx, leaderKey).Err()
}
