package main

import (
	"context"
	"errors"
	"iter"
)

// transport carries the bytes of calls to asynq, and those of values back.
type transport interface {
	// submit enqueues one task.
	submit(ctx context.Context, task string, data []byte) (reply, error)
	// submitMany enqueues one task for each of datas.
	submitMany(ctx context.Context, task string, datas [][]byte) ([]reply, error)
	// close releases what the transport holds.
	close() error
}

// reply is an answer that is not here yet.
type reply pending[[]byte]

// asynqClient encodes calls and decodes values over a transport.
type asynqClient struct {
	transport transport
	slots     int // of the workers
}

func (c *asynqClient) close(context.Context) error { return c.transport.close() }

func (c *asynqClient) applyAsync(ctx context.Context, task string, arg int) (pending[int], error) {
	r, err := c.transport.submit(ctx, task, appendInts(nil, []int{arg}))
	if err != nil {
		return nil, err
	}
	return asynqCall{r}, nil
}

func (c *asynqClient) apply(ctx context.Context, task string, arg int) (int, error) {
	call, err := c.applyAsync(ctx, task, arg)
	if err != nil {
		return 0, err
	}
	return call.get(ctx)
}

func (c *asynqClient) flip(ctx context.Context, data []byte) ([]byte, error) {
	r, err := c.transport.submit(ctx, flip, data)
	if err != nil {
		return nil, err
	}
	return r.get(ctx)
}

// chunkSize is Python's rule where chunk does not say otherwise.
func (c *asynqClient) chunkSize(n, chunk int) int {
	if chunk > 0 {
		return chunk
	}
	return max(1, (n+4*c.slots-1)/(4*c.slots))
}

func (c *asynqClient) mapAsync(ctx context.Context, task string, args []int, chunk int) (pending[[]int], error) {
	size := c.chunkSize(len(args), chunk)
	datas := make([][]byte, 0, len(args)/size+1)
	for lo := 0; lo < len(args); lo += size {
		datas = append(datas, appendInts(nil, args[lo:min(lo+size, len(args))]))
	}
	replies, err := c.transport.submitMany(ctx, task, datas)
	if err != nil {
		return nil, err
	}
	return &asynqMap{replies, len(args)}, nil
}

func (c *asynqClient) mapAll(ctx context.Context, task string, args []int, chunk int) ([]int, error) {
	m, err := c.mapAsync(ctx, task, args, chunk)
	if err != nil {
		return nil, err
	}
	return m.get(ctx)
}

// streamChunk is the automatic size for streams: larger chunks gain little.
const streamChunk = 1000

// stream keeps four chunks for each slot under way. It takes them in order, which
// costs nothing here, where all calls take the same time.
func (c *asynqClient) stream(ctx context.Context, n, chunk int) iter.Seq2[int, error] {
	if chunk == 0 {
		chunk = streamChunk
	}
	return func(yield func(int, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		replies := make(chan reply, 4*c.slots)
		failed := make(chan error, 1)
		go func() {
			defer close(replies)
			failed <- c.submitStream(ctx, n, chunk, replies)
		}()
		for r := range replies {
			data, err := r.get(ctx)
			var values []int
			if err == nil {
				values, err = parseInts(data)
			}
			if err != nil {
				yield(0, err)
				return
			}
			for _, v := range values {
				if !yield(v, nil) {
					return
				}
			}
		}
		if err := <-failed; err != nil {
			yield(0, err)
		}
	}
}

// submitStream submits the ints from 0 to n-1, as many chunks in a round trip as
// there is room for.
func (c *asynqClient) submitStream(ctx context.Context, n, chunk int, replies chan<- reply) error {
	for lo := 0; lo < n; {
		var datas [][]byte
		for room := max(1, cap(replies)-len(replies)); room > 0 && lo < n; room-- {
			ns := numbers(min(chunk, n-lo))
			for i := range ns {
				ns[i] += lo
			}
			datas = append(datas, appendInts(nil, ns))
			lo += len(ns)
		}
		rs, err := c.transport.submitMany(ctx, square, datas)
		if err != nil {
			return err
		}
		for _, r := range rs {
			select {
			case replies <- r:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// asynqCall is a single call.
type asynqCall struct{ reply }

func (c asynqCall) get(ctx context.Context) (int, error) {
	data, err := c.reply.get(ctx)
	if err != nil {
		return 0, err
	}
	ns, err := parseInts(data)
	if err != nil {
		return 0, err
	}
	return ns[0], nil
}

// asynqMap is a map, a task for each of its chunks.
type asynqMap struct {
	replies []reply
	n       int
}

func (m *asynqMap) get(ctx context.Context) ([]int, error) {
	values := make([]int, 0, m.n)
	for _, r := range m.replies {
		data, err := r.get(ctx)
		if err != nil {
			return nil, err
		}
		ns, err := parseInts(data)
		if err != nil {
			return nil, err
		}
		values = append(values, ns...)
	}
	return values, nil
}

func (m *asynqMap) ready() bool {
	for _, r := range m.replies {
		if !r.ready() {
			return false
		}
	}
	return true
}

func (m *asynqMap) forget(ctx context.Context) error {
	var errs []error
	for _, r := range m.replies {
		errs = append(errs, r.forget(ctx))
	}
	return errors.Join(errs...)
}
