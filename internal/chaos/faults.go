package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/distpool/distpool/internal/chaos/load"
	"github.com/distpool/distpool/internal/history"
)

// injector breaks something and mends it again, and says in f what it hit. The
// times and the kind are filled in around it.
type injector func(ctx context.Context, d *driver, a aim, f *history.Fault) error

// injectors are the kinds of faults.
var injectors = map[string]injector{
	"kill-worker":   killWorker,
	"term-worker":   termWorker,
	"stop-worker":   stopWorker,
	"freeze-worker": freezeWorker,
	"kill-producer": killProducer,

	"kill-redis":   killRedis,
	"stop-redis":   stopRedis,
	"client-kill":  clientKill,
	"client-pause": clientPause,
	"drop-pubsub":  dropPubsub,
	"script-flush": scriptFlush,
	"maxmemory":    squeeze,
	"failover":     failover,

	"cut":      cut,
	"cut-all":  cutAll,
	"latency":  latency,
	"throttle": throttle,

	"delete":    deleteDeliveries,
	"archive":   archiveDeliveries,
	"duplicate": duplicateDeliveries,
}

// kindsFor lists the faults that a topology can have, in the order of their names.
func kindsFor(topology string) []string {
	kinds := slices.Sorted(maps.Keys(injectors))
	if topology != Sentinel {
		kinds = slices.DeleteFunc(kinds, func(k string) bool { return k == "failover" })
	}
	return kinds
}

// usualKinds lists those that are injected unless others are asked for.
func usualKinds(topology string) []string {
	// Its length is for runs that are aimed; stop-worker is the usual form.
	return slices.DeleteFunc(kindsFor(topology), func(k string) bool { return k == "freeze-worker" })
}

// inject carries one fault out and writes it down.
func (d *driver) inject(ctx context.Context, a aim) {
	f := history.Fault{Kind: a.kind}
	if err := injectors[a.kind](ctx, d, a, &f); err != nil {
		f.Failed = err.Error()
	}
	if f.Start == 0 {
		f.Start = time.Now().UnixNano()
	}
	if f.End == 0 {
		f.End = time.Now().UnixNano()
	}
	d.h.Write(history.Event{What: history.Injected, Fault: &f})
	note := ""
	if f.Skipped {
		note = ": there was nothing to break"
	}
	if f.Failed != "" {
		note = ": " + f.Failed
	}
	d.say("fault %3d: %-13s %-6s %8v%s", a.number, f.Kind, f.Target, time.Duration(f.End-f.Start).Round(time.Millisecond), note)
}

// begin notes that the fault begins now.
func begin(f *history.Fault) { f.Start = time.Now().UnixNano() }

// lasting out the fault itself.
func hold(ctx context.Context, t time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(t):
	}
}

func (d *driver) pickWorker(a aim) *place   { return d.workers[int(a.pick)%len(d.workers)] }
func (d *driver) pickProducer(a aim) *place { return d.producers[int(a.pick)%len(d.producers)] }

func killWorker(_ context.Context, d *driver, a aim, f *history.Fault) error {
	return killPlace(d.pickWorker(a), f)
}

func killProducer(_ context.Context, d *driver, a aim, f *history.Fault) error {
	return killPlace(d.pickProducer(a), f)
}

// killPlace kills the process and starts the next one.
func killPlace(p *place, f *history.Fault) error {
	p.busy.Lock()
	defer p.busy.Unlock()
	f.Target, f.Silent = p.current(), p.spec.Role == "worker"
	begin(f)
	c := p.signal(syscall.SIGKILL, true)
	<-c.ended
	f.End = time.Now().UnixNano()
	return p.start()
}

// termWorker is what a rolling restart does to each worker.
func termWorker(_ context.Context, d *driver, a aim, f *history.Fault) error {
	p := d.pickWorker(a)
	p.busy.Lock()
	defer p.busy.Unlock()
	f.Target = p.current()
	begin(f)
	if err := p.finish(2*load.Grace + 10*time.Second); err != nil {
		d.h.Write(history.Event{What: history.Died, Text: err.Error()})
	}
	f.End = time.Now().UnixNano()
	return p.start()
}

func stopWorker(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	return d.freeze(ctx, a, f, a.between(time.Second, 12*time.Second))
}

// freezeWorker is so long that its calls are run by others, and got, before it
// goes on.
func freezeWorker(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	return d.freeze(ctx, a, f, a.between(15*time.Second, 20*time.Second))
}

func (d *driver) freeze(ctx context.Context, a aim, f *history.Fault, t time.Duration) error {
	p := d.pickWorker(a)
	p.busy.Lock()
	defer p.busy.Unlock()
	f.Target, f.Silent = p.current(), true
	begin(f)
	p.signal(syscall.SIGSTOP, false)
	hold(ctx, t)
	p.signal(syscall.SIGCONT, false)
	return nil
}

// onRedis holds off other faults of Redis, and picks a node.
func (d *driver) onRedis(a aim, f *history.Fault) (n *node, release func()) {
	d.redis.Lock()
	f.Silent, f.Lossy = true, d.topology.lossy()
	begin(f)
	return d.topology.nodes[int(a.pick)%len(d.topology.nodes)], d.redis.Unlock
}

func killRedis(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	n, release := d.onRedis(a, f)
	defer release()
	if err := n.server.Kill(); err != nil {
		return err
	}
	hold(ctx, a.between(100*time.Millisecond, 3*time.Second))
	return n.server.RestartProcess()
}

func stopRedis(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	n, release := d.onRedis(a, f)
	defer release()
	if err := n.server.Pause(); err != nil {
		return err
	}
	hold(ctx, a.between(300*time.Millisecond, 6*time.Second))
	return n.server.Resume()
}

func clientKill(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	n, release := d.onRedis(a, f)
	defer release()
	return n.admin.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err()
}

// dropPubsub closes subscriptions as soon as they stand, so that notices get lost.
func dropPubsub(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	_, release := d.onRedis(a, f)
	defer release()
	for end := time.Now().Add(a.between(500*time.Millisecond, 4*time.Second)); time.Now().Before(end); hold(ctx, 50*time.Millisecond) {
		for _, n := range d.topology.nodes {
			if err := n.admin.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

func clientPause(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	n, release := d.onRedis(a, f)
	defer release()
	t, mode := a.between(200*time.Millisecond, 3*time.Second), "ALL"
	if a.rng.IntN(2) == 0 {
		mode = "WRITE"
	}
	if err := n.admin.Do(ctx, "CLIENT", "PAUSE", t.Milliseconds(), mode).Err(); err != nil {
		return err
	}
	hold(ctx, t)
	return nil
}

func scriptFlush(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	_, release := d.onRedis(a, f)
	defer release()
	f.Silent, f.Lossy = false, false
	var errs []error
	for _, n := range d.topology.nodes {
		errs = append(errs, n.admin.ScriptFlush(ctx).Err())
	}
	return errors.Join(errs...)
}

// squeeze leaves Redis no memory for a while.
func squeeze(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	_, release := d.onRedis(a, f)
	defer release()
	f.Lossy = false
	var errs []error
	for _, n := range d.topology.nodes {
		errs = append(errs, n.admin.ConfigSet(ctx, "maxmemory", "1").Err())
	}
	hold(ctx, a.between(300*time.Millisecond, 3*time.Second))
	for _, n := range d.topology.nodes {
		errs = append(errs, n.admin.ConfigSet(ctx, "maxmemory", "0").Err())
	}
	return errors.Join(errs...)
}

// links are those that a fault of the network can hit.
func (d *driver) pickLink(a aim) (*link, string, *sync.Mutex) {
	if d.topology.kind != Alone {
		n := d.topology.nodes[int(a.pick)%len(d.topology.nodes)]
		return n.link, "", &d.redis // it is everybody's
	}
	places := slices.Concat(d.workers, d.producers)
	p := places[int(a.pick)%len(places)]
	p.busy.Lock()
	defer p.busy.Unlock()
	return p.link, p.current(), &p.busy
}

// onLink disturbs a link for a while.
func (d *driver) onLink(a aim, f *history.Fault, disturb func(*link) error) error {
	l, target, mu := d.pickLink(a)
	mu.Lock()
	defer mu.Unlock()
	f.Target, f.Silent, f.Lossy = target, true, d.topology.lossy()
	begin(f)
	return disturb(l)
}

func cut(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	return d.onLink(a, f, func(l *link) error {
		l.cut()
		hold(ctx, a.between(200*time.Millisecond, 8*time.Second))
		return l.join()
	})
}

// cutAll is the network between Redis and everybody.
func cutAll(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	_, release := d.onRedis(a, f)
	defer release()
	places := slices.Concat(d.workers, d.producers)
	for _, p := range places {
		p.busy.Lock()
	}
	defer func() {
		for _, p := range places {
			p.busy.Unlock()
		}
	}()
	begin(f) // now: one of them may have been busy for long
	for _, l := range d.topology.proxies.links {
		l.cut()
	}
	hold(ctx, a.between(200*time.Millisecond, 4*time.Second))
	var errs []error
	for _, l := range d.topology.proxies.links {
		errs = append(errs, l.join())
	}
	return errors.Join(errs...)
}

func latency(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	return d.onLink(a, f, func(l *link) error {
		ms := 20 + a.rng.IntN(300)
		return d.withToxic(ctx, l, a.between(500*time.Millisecond, 5*time.Second), "latency", map[string]any{"latency": ms, "jitter": ms / 3})
	})
}

func throttle(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	return d.onLink(a, f, func(l *link) error {
		return d.withToxic(ctx, l, a.between(500*time.Millisecond, 5*time.Second), "bandwidth", map[string]any{"rate": 4 + a.rng.IntN(40)}) // KB/s
	})
}

func (d *driver) withToxic(ctx context.Context, l *link, t time.Duration, kind string, attributes map[string]any) error {
	if err := l.toxic(kind, attributes); err != nil {
		return fmt.Errorf("adding %s to %s: %w", kind, l.name, err)
	}
	hold(ctx, t)
	l.clear(ctx)
	return nil
}
