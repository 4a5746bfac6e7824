package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// withPool makes the part that has f price a part of the life of a job of many chunks of one call.
func (m *growth) withPool(f func(context.Context, *producer.Pool) error) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		pool, err := producer.Open(ctx, producer.Config{Redis: m.s.addr})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, pool.Terminate(ctx)) }()
		stop, worst := m.ping(ctx)
		defer stop()
		if err := f(ctx, pool); err != nil {
			return err
		}
		if err := m.freed(ctx); err != nil {
			return err
		}
		return m.out.Encode(map[string]any{"part": "chunks", "what": "the longest PING, ms", "ms": worst()})
	}
}

func (m *growth) submitted(ctx context.Context, pool *producer.Pool, what string) (job *results.MapResult[int], err error) {
	err = m.price(ctx, "chunks", what+": submit, a chunk", m.chunks, m.chunks, func() error {
		job, err = producer.MapAsync(ctx, pool, squareTask, numbers(m.chunks), producer.ChunkSize(1))
		return err
	})
	return job, err
}

// forgotten is looked at while it waits and when it is done.
func (m *growth) forgotten(ctx context.Context, pool *producer.Pool) error {
	job, err := m.submitted(ctx, pool, "forgotten")
	if err != nil {
		return err
	}
	if err := m.memory(ctx, "it waits"); err != nil {
		return err
	}
	if err := m.looked(ctx, job.ID(), "it waits"); err != nil {
		return err
	}
	err = m.price(ctx, "chunks", "forgotten: run and get, a chunk", m.chunks, m.chunks, func() error {
		return m.working(ctx, func() error {
			values, err := job.Get(ctx)
			if err != nil {
				return err
			}
			return checkSquares(values, m.chunks)
		})
	})
	if err != nil {
		return err
	}
	if err := m.memory(ctx, "it is done"); err != nil {
		return err
	}
	if err := m.looked(ctx, job.ID(), "it is done"); err != nil {
		return err
	}
	other, err := producer.Open(ctx, producer.Config{Redis: m.s.addr})
	if err != nil {
		return err
	}
	err = m.price(ctx, "chunks", "another pool attaches and gets, a chunk", m.chunks, m.chunks, func() error {
		again, err := producer.AttachMap(ctx, other, squareTask, job.ID())
		if err != nil {
			return err
		}
		values, err := again.Get(ctx)
		if err != nil {
			return err
		}
		return checkSquares(values, m.chunks)
	})
	if err := errors.Join(err, other.Terminate(ctx)); err != nil {
		return err
	}
	return m.price(ctx, "chunks", "forget", m.chunks, 1, func() error { return job.Forget(ctx) })
}

// looked has people look at the job.
func (m *growth) looked(ctx context.Context, id, when string) error {
	in := inspect.New(m.rdb)
	const looks = 20
	return m.price(ctx, "chunks", "its page while "+when, m.chunks, looks, func() error {
		for range looks {
			if _, err := in.Job(ctx, id, 400); err != nil {
				return err
			}
		}
		return nil
	})
}

// canceled waits in the middle of a queue of others.
func (m *growth) canceled(ctx context.Context, pool *producer.Pool) error {
	others := &crowd{growth: m}
	if err := others.fill(ctx, m.chunks/10); err != nil {
		return err
	}
	job, err := m.submitted(ctx, pool, "canceled")
	if err != nil {
		return err
	}
	if err := others.fill(ctx, m.chunks/5); err != nil {
		return err
	}
	err = m.price(ctx, "chunks", "cancel, with its deliveries", m.chunks, 1, func() error { return job.Cancel(ctx) })
	if err != nil {
		return err
	}
	return m.swept(ctx, m.chunks/5)
}

// swept waits until only deliveries of other jobs are left.
func (m *growth) swept(ctx context.Context, others int) error {
	for began := time.Now(); ; {
		n, err := m.rdb.LLen(ctx, "asynq:{distpool}:pending").Result()
		if err != nil {
			return err
		}
		if n <= int64(others) {
			return nil
		}
		if time.Since(began) > time.Minute {
			return fmt.Errorf("%d deliveries are left, of which %d are of others", n, others)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// blocking has a caller that waits for the values.
func (m *growth) blocking(ctx context.Context, pool *producer.Pool) error {
	heap := watchHeap()
	err := m.price(ctx, "chunks", "a blocking Map, a chunk", m.chunks, m.chunks, func() error {
		return m.working(ctx, func() error {
			values, err := producer.Map(ctx, pool, squareTask, numbers(m.chunks), producer.ChunkSize(1))
			if err != nil {
				return err
			}
			return checkSquares(values, m.chunks)
		})
	})
	peak := heap.stop()
	if err != nil {
		return err
	}
	return m.out.Encode(map[string]any{"part": "chunks", "what": "the producer's heap in a blocking Map, at the most, bytes a chunk", "bytes": rounded(float64(peak)/float64(m.chunks), 1)})
}

// expiring is done, and its record goes by itself.
func (m *growth) expiring(ctx context.Context, pool *producer.Pool) error {
	const ttl = 5 * time.Second
	return m.working(ctx, func() error {
		job, err := producer.MapAsync(ctx, pool, squareTask, numbers(m.chunks), producer.ChunkSize(1), producer.ResultTTL(ttl))
		if err != nil {
			return err
		}
		if err := job.Wait(ctx); err != nil {
			return err
		}
		return m.price(ctx, "chunks", "the end of its time to live", m.chunks, 1, func() error {
			for began := time.Now(); ; {
				if n, err := m.rdb.Exists(ctx, "distpool:{distpool}:job:"+job.ID()[len("distpool/"):]).Result(); n == 0 || err != nil {
					return err
				}
				if time.Since(began) > 2*time.Minute {
					return errors.New("its record is there two minutes after its time to live")
				}
				if err := pause(ctx, 100*time.Millisecond); err != nil {
					return err
				}
			}
		})
	})
}

// working runs f while a worker runs.
func (m *growth) working(ctx context.Context, f func() error) error {
	w, err := startWorker(ctx, m.s)
	if err != nil {
		return err
	}
	return errors.Join(f(), w.stop())
}

// memory prints what Redis has, a chunk.
func (m *growth) memory(ctx context.Context, when string) error {
	bytes, keys, err := settledMemory(ctx, m.rdb)
	if err != nil {
		return err
	}
	own, err := ownSize()
	if err != nil {
		return err
	}
	return m.out.Encode(map[string]any{"part": "chunks", "what": "memory while " + when, "redis_bytes_per": rounded(float64(bytes)/float64(m.chunks), 1), "keys": keys, "producer": own})
}

// freed waits until Redis has freed what was removed in the background.
func (m *growth) freed(ctx context.Context) error {
	for {
		fields, err := infoOf(ctx, m.rdb, "memory")
		if err != nil {
			return err
		}
		if left, err := fields.number("lazyfree_pending_objects"); left == 0 || err != nil {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// ping asks Redis all the time for a PING. worst is the longest that one took so far, in ms, which
// the scheduler of a busy machine has a part in.
func (m *growth) ping(ctx context.Context) (stop func(), worst func() float64) {
	ctx, cancel := context.WithCancel(ctx)
	rdb, asked, most := dial(m.s), make(chan chan time.Duration), time.Duration(0)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer rdb.Close()
		for {
			began := time.Now()
			_ = rdb.Ping(ctx).Err()
			most = max(most, time.Since(began))
			select {
			case <-ctx.Done():
				return
			case answer := <-asked:
				answer <- most
				most = 0
			case <-time.After(time.Millisecond):
			}
		}
	}()
	stop = func() { cancel(); <-ended }
	return stop, func() float64 {
		answer := make(chan time.Duration)
		asked <- answer
		return rounded((<-answer).Seconds()*1000, 1)
	}
}
