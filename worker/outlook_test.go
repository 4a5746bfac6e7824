package worker

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// counter counts what is sent to Redis.
type counter struct{ n int }

func (*counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n++
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n += len(cmds)
		return next(ctx, cmds)
	}
}

// watching is an outlook over queues a and b, with the number of times that it told
// of waiting deliveries.
func watching(t *testing.T) (o *outlook, rdb *redis.Client, told *int) {
	t.Helper()
	rdb = redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	told = new(int)
	return newOutlook(rdb, []string{"a", "b"}, func(context.Context) { *told++ }), rdb, told
}

// forwarding asks for the sets as asynq's forwarder does, and returns which of its requests
// passed. moves is what the script would say of a set, once.
func forwarding(t *testing.T, o *outlook, moves map[string]int) (passed []string) {
	t.Helper()
	for _, set := range []string{"asynq:{a}:scheduled", "asynq:{a}:retry", "asynq:{b}:scheduled", "asynq:{b}:retry"} {
		for n := 1; n > 0; {
			cmd := o.forward(t.Context(), set, func() *redis.Cmd {
				passed = append(passed, set)
				cmd := redis.NewCmd(t.Context())
				cmd.SetVal(int64(moves[set]))
				delete(moves, set)
				return cmd
			})
			var err error
			if n, err = cmd.Int(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return passed
}

func TestOneCommandLooksAtAllQueuesWhenThereIsNothing(t *testing.T) {
	o, rdb, told := watching(t)
	if o.recent() {
		t.Error("an outlook that has never looked can be relied on")
	}
	if err := rdb.Ping(t.Context()).Err(); err != nil { // connects
		t.Fatal(err)
	}
	var sent counter
	rdb.AddHook(&sent)
	for range 3 {
		if passed := forwarding(t, o, nil); len(passed) > 0 {
			t.Errorf("requests about %v passed although nothing is there", passed)
		}
	}
	if sent.n != 3 || *told > 0 {
		t.Errorf("3 rounds over 2 queues sent %d commands, and told %d times", sent.n, *told)
	}
	if !o.recent() {
		t.Error("an outlook that has just looked cannot be relied on")
	}
}

func TestADelayedDeliveryIsLookedAtInTheNextRound(t *testing.T) {
	o, rdb, told := watching(t)
	forwarding(t, o, nil)
	if err := rdb.ZAdd(t.Context(), "asynq:{b}:retry", redis.Z{Score: 1, Member: "x"}).Err(); err != nil {
		t.Fatal(err)
	}
	passed := forwarding(t, o, map[string]int{"asynq:{b}:retry": 7})
	if len(passed) < 2 || passed[len(passed)-1] != "asynq:{b}:retry" {
		t.Errorf("requests passed about %v, want b's retry set among them, until it had no more", passed)
	}
	if n := rdb.LLen(t.Context(), record.BellKey("b")).Val(); n != 7 {
		t.Errorf("%d rings for 7 deliveries that were brought to their queue", n)
	}
	if *told > 0 {
		t.Errorf("it was told %d times that deliveries wait; none does", *told)
	}
}

// In a Cluster there is no outlook. A server that does not know asynq's script gets its source.
func TestWhatAsynqBringsToItsQueueIsRungForOnce(t *testing.T) {
	for name, outlook := range map[string]bool{"with an outlook": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
			defer func() { _ = rdb.Close() }()
			rdb.AddHook(brings(3))
			d := newDoorbell(rdb, "me", []string{"a", "b"})
			if outlook {
				rdb.ZAdd(t.Context(), "asynq:{a}:scheduled", redis.Z{Member: "one that waits"})
				d.lookOut([]string{"a", "b"})
			}
			for _, set := range []string{"asynq:{a}:scheduled", "asynq:{b}:retry"} {
				keys, bell := []string{set, "asynq:{b}:pending"}, record.BellKey(queueOfSet(set))
				for half, ask := range map[string]func() *redis.Cmd{
					"by its name": func() *redis.Cmd { return d.EvalSha(t.Context(), record.AsynqForward, keys, 1) },
					"in full":     func() *redis.Cmd { return d.Eval(t.Context(), asynqForward, keys, 1) },
				} {
					rdb.Del(t.Context(), bell)
					if n, err := ask().Int(); n != 3 || err != nil {
						t.Errorf("asynq hears that %d were brought, %v, want 3", n, err)
					}
					if n := rdb.LLen(t.Context(), bell).Val(); n != 3 {
						t.Errorf("script sent %s: %d rings for 3 deliveries of %s", half, n, set)
					}
				}
			}
		})
	}
}

// asynqForward is asynq's script (v0.26, internal/rdb: forwardCmd).
const asynqForward = `
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, 100)
for _, id in ipairs(ids) do
	local taskKey = ARGV[2] .. id
	local group = redis.call("HGET", taskKey, "group")
	if group and group ~= '' then
	    redis.call("ZADD", ARGV[4] .. group, ARGV[1], id)
		redis.call("ZREM", KEYS[1], id)
		redis.call("HSET", taskKey,
				   "state", "aggregating")
	else
		redis.call("LPUSH", KEYS[2], id)
		redis.call("ZREM", KEYS[1], id)
		redis.call("HSET", taskKey,
				   "state", "pending",
				   "pending_since", ARGV[3])
	end
end
return table.getn(ids)`

// brings has asynq find so many deliveries in each set whose time has come.
type brings int64

func (b brings) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b brings) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); len(args) > 1 && (args[1] == record.AsynqForward || args[1] == asynqForward) {
			cmd.(*redis.Cmd).SetVal(int64(b))
			return nil
		}
		return next(ctx, cmd)
	}
}

func (b brings) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestARoundThatFailedHalfwayIsBegunAnew(t *testing.T) {
	o, rdb, _ := watching(t)
	o.forward(t.Context(), "asynq:{a}:scheduled", func() *redis.Cmd { return redis.NewCmd(t.Context()) })
	// The rest of that round did not come; b's set was empty at its beginning.
	if err := rdb.ZAdd(t.Context(), "asynq:{b}:scheduled", redis.Z{Score: 1, Member: "x"}).Err(); err != nil {
		t.Fatal(err)
	}
	if passed := forwarding(t, o, nil); len(passed) == 0 {
		t.Error("what was known of a round before was taken for true in the next one")
	}
}

// Somebody put a delivery into the queue who does not ring: an operator, by asynqmon.
func TestADeliveryOfWhichNoRingToldWakesAnIdleWorker(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	d := newDoorbell(rdb, "me", []string{"a", "b"})
	d.lookOut([]string{"a", "b"})
	forwarding(t, d.outlook, nil)
	if began := time.Now(); d.listen(t.Context()) || time.Since(began) < listenLonger-100*time.Millisecond {
		t.Errorf("a worker that nobody called had to look after %v, although there is an outlook", time.Since(began))
	}
	if _, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("t", nil), asynq.Queue("b")); err != nil {
		t.Fatal(err)
	}
	began, rung := time.Now(), make(chan bool, 1)
	go func() { rung <- d.listen(t.Context()) }()
	for !d.listens.Load() {
		time.Sleep(time.Millisecond)
	}
	forwarding(t, d.outlook, nil)
	if !<-rung || time.Since(began) > listenLonger/2 {
		t.Errorf("a delivery that waits was noticed after %v", time.Since(began))
	}
	forwarding(t, d.outlook, nil)
	if n := rdb.LLen(t.Context(), record.WakeKey("me")).Val(); n != 0 {
		t.Errorf("%d wake-ups lie there for a worker that does not listen", n)
	}
}

func TestAnOutlookThatFailsIsNotReliedOn(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	defer func() { _ = rdb.Close() }()
	o := newOutlook(rdb, []string{"a"}, func(context.Context) {})
	server.Close()
	cmd := o.forward(t.Context(), "asynq:{a}:scheduled", func() *redis.Cmd { t.Error("it passed"); return nil })
	if cmd.Err() == nil || o.recent() {
		t.Errorf("without Redis a look says %v, and can be relied on: %v", cmd.Err(), o.recent())
	}
}

// A set of which something was brought is asked for again. A look at that time must not
// answer for sets that are asked for before it: the answer would be one round old.
func TestASetIsLookedAtInEachRoundAlsoAfterAnotherBroughtSomething(t *testing.T) {
	o, rdb, _ := watching(t)
	for _, set := range []string{"asynq:{b}:retry", "asynq:{a}:scheduled"} {
		due := func(set string) {
			t.Helper()
			if err := rdb.ZAdd(t.Context(), set, redis.Z{Score: 1, Member: "x"}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		due(set)
		var passed []string
		round := func() {
			t.Helper()
			passed = nil
			// Not in the order of the outlook, which asynq does not know.
			for _, set := range []string{"asynq:{b}:scheduled", "asynq:{b}:retry", "asynq:{a}:scheduled", "asynq:{a}:retry"} {
				for n := int64(1); n > 0; {
					cmd := o.forward(t.Context(), set, func() *redis.Cmd {
						passed = append(passed, set)
						cmd := redis.NewCmd(t.Context())
						cmd.SetVal(rdb.Del(t.Context(), set).Val()) // brought, and run at once
						return cmd
					})
					var err error
					if n, err = cmd.Int64(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		round()
		if !slices.Contains(passed, set) {
			t.Errorf("requests passed about %v although %s has a delivery", passed, set)
		}
		for _, next := range []string{"asynq:{b}:scheduled", "asynq:{a}:retry", "asynq:{b}:scheduled"} {
			due(next)
			round()
			if !slices.Contains(passed, next) {
				t.Errorf("after %s brought something, requests passed about %v, although %s has a delivery", set, passed, next)
			}
			round() // nothing
			if len(passed) > 0 {
				t.Errorf("requests about %v passed although nothing is there", passed)
			}
		}
	}
}
