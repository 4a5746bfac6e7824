// Package observers makes one observer of several, and a Redis hook of one.
package observers

import (
	"context"
	"fmt"
	"slices"

	"github.com/distpool/distpool/observe"
)

// Pools makes one observer of os: nil of none, and an error when one is nil.
func Pools(os []observe.Pool) (observe.Pool, error) {
	if i := slices.Index(os, nil); i >= 0 {
		return nil, isNil(i)
	}
	switch len(os) {
	case 0:
		return nil, nil
	case 1:
		return os[0], nil
	}
	return pools(slices.Clone(os)), nil
}

// Workers makes one observer of os: nil of none, and an error when one is nil.
func Workers(os []observe.Worker) (observe.Worker, error) {
	if i := slices.Index(os, nil); i >= 0 {
		return nil, isNil(i)
	}
	switch len(os) {
	case 0:
		return nil, nil
	case 1:
		return os[0], nil
	}
	return workers(slices.Clone(os)), nil
}

func isNil(i int) error {
	return fmt.Errorf("field Observers: number %d is nil; leave it out", i)
}

type pools []observe.Pool

func (os pools) OpenPool(s observe.PoolState) {
	for _, o := range os {
		o.OpenPool(s)
	}
}

func (os pools) ClosePool(s observe.PoolState) {
	for _, o := range slices.Backward(os) {
		o.ClosePool(s)
	}
}

func (os pools) BeginSubmit(ctx context.Context, s *observe.Submission) context.Context {
	for _, o := range os {
		ctx = o.BeginSubmit(ctx, s)
	}
	return ctx
}

func (os pools) EndSubmit(ctx context.Context, s *observe.Submission, err error) {
	for _, o := range slices.Backward(os) {
		o.EndSubmit(ctx, s, err)
	}
}

func (os pools) Settle(s observe.Settlement) {
	for _, o := range os {
		o.Settle(s)
	}
}

func (os pools) RoundTrip(r observe.RoundTrip) {
	for _, o := range os {
		o.RoundTrip(r)
	}
}

type workers []observe.Worker

func (os workers) StartWorker(s observe.WorkerState) {
	for _, o := range os {
		o.StartWorker(s)
	}
}

func (os workers) StopWorker(s observe.WorkerState) {
	for _, o := range slices.Backward(os) {
		o.StopWorker(s)
	}
}

func (os workers) Deliver(d observe.Delivery) {
	for _, o := range os {
		o.Deliver(d)
	}
}

func (os workers) BeginChunk(ctx context.Context, c *observe.Chunk) context.Context {
	for _, o := range os {
		ctx = o.BeginChunk(ctx, c)
	}
	return ctx
}

func (os workers) EndChunk(ctx context.Context, c *observe.Chunk, end observe.ChunkEnd) {
	for _, o := range slices.Backward(os) {
		o.EndChunk(ctx, c, end)
	}
}

func (os workers) BeginCall(ctx context.Context, c *observe.Call) context.Context {
	for _, o := range os {
		ctx = o.BeginCall(ctx, c)
	}
	return ctx
}

func (os workers) EndCall(ctx context.Context, c *observe.Call, end observe.CallEnd) {
	for _, o := range slices.Backward(os) {
		o.EndCall(ctx, c, end)
	}
}

func (os workers) RoundTrip(r observe.RoundTrip) {
	for _, o := range os {
		o.RoundTrip(r)
	}
}
