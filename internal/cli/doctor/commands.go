package doctor

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// What the users of docs/security.md may run, which is what they need: see there.
const (
	workerCommands = "blmove client|id client|unblock del eval evalsha exists expire expireat get hdel hexists hget hincrby hmget hset hsetnx incrby " +
		"info llen lpop lpush lrange lrem ltrim memory|usage mget pexpire ping pttl publish rpop rpush sadd set setex " +
		"sismember smembers srem subscribe time unlink zadd zcard zcount zrange zrangebyscore zrem zremrangebyrank " +
		"zremrangebyscore zrevrange zscore"
	producerCommands = "del eval evalsha exists get hdel hexists hget hincrby hkeys hlen hmget hset hsetnx " +
		"hstrlen info llen lpos lpush lrange lrem lset ltrim mget pexpire ping pttl publish rpush sadd set " +
		"sismember smembers srem subscribe time unlink unsubscribe xadd xdel xrange zadd zrange zrem zscore"
)

// roles are the users that do the work.
var roles = []struct{ name, commands string }{{"a worker", workerCommands}, {"a producer", producerCommands}}

//go:embed trial.lua
var trialLua string

// trialKeys are among the keys of the queue's jobs, and of no job.
func trialKeys(queue string) []string {
	base := job.Key(queue, "!doctor") // names have no such mark
	return []string{base + ":a", base + ":b"}
}

// checkCommands says whether Redis has the commands that distpool needs, and whether
// this user may run them, by running each.
func checkCommands(ctx context.Context, rdb redis.UniversalClient, queue string) (finding, error) {
	f := finding{Check: "commands", Verdict: trouble, Remedy: "let Redis have them: take their rename-command lines out of redis.conf, or use a Redis that has them"}
	missing, err := missingCommands(ctx, rdb)
	if err != nil {
		return f, err
	}
	if len(missing) > 0 {
		f.Found = "Redis has no " + strings.ToUpper(strings.Join(missing, ", ")) + ", or under another name"
		return f, nil
	}
	failed, err := tryCommands(ctx, rdb, queue)
	if err != nil {
		return f, err
	}
	var denied []string
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		text := failed[name]
		switch {
		case isDenied(text):
			denied = append(denied, name)
		case strings.Contains(strings.ToLower(text), "unknown"):
			missing = append(missing, name)
		default:
			f.Found, f.Remedy = strings.ToUpper(name)+" is refused: "+text, "see what Redis says; until it takes writes, no job goes on"
			return f, nil
		}
	}
	if len(missing) > 0 {
		f.Found = "Redis has no " + strings.ToUpper(strings.Join(missing, ", ")) + ", or under another name"
		return f, nil
	}
	return f.ofUser(denied), nil
}

// ofUser is the finding about what the user may not run.
func (f finding) ofUser(denied []string) finding {
	var may []string
	least, lacks := "", []string(nil)
	for _, r := range roles {
		needed := strings.Fields(r.commands)
		lack := slices.DeleteFunc(slices.Clone(denied), func(name string) bool { return !slices.Contains(needed, name) })
		if len(lack) == 0 {
			may = append(may, r.name)
		} else if least == "" || len(lack) < len(lacks) {
			least, lacks = r.name, lack
		}
	}
	isDenied := func(name string) bool { return slices.Contains(denied, name) }
	switch {
	case len(may) > 0:
		f.Verdict, f.Remedy = fine, ""
		f.Found = "all that " + strings.Join(may, " and ") + " needs"
	case !isDenied("get") && !slices.ContainsFunc([]string{"lpush", "rpush", "sadd", "zadd"}, func(name string) bool { return !isDenied(name) }):
		f.Verdict, f.Found = doubt, "this user may look, and neither submit nor run jobs"
		f.Remedy = "run doctor as the user of a worker or of a producer, too"
	default:
		f.Found = "this user may not run " + strings.ToUpper(strings.Join(lacks, ", ")) + ", which " + least + " needs"
		f.Remedy = "give it the rules of docs/security.md (ACL SETUSER)"
	}
	return f
}

// missingCommands asks each server which of the commands it does not have; none, if
// the user may not ask.
func missingCommands(ctx context.Context, rdb redis.UniversalClient) ([]string, error) {
	var names []string
	for _, name := range strings.Fields(workerCommands + " " + producerCommands) {
		name, _, _ = strings.Cut(name, "|")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	args := []any{"COMMAND", "INFO"}
	for _, name := range names {
		args = append(args, name)
	}
	missing := map[string]string{}
	ask := func(ctx context.Context, c redis.Cmdable) error {
		reply, err := c.(interface {
			Do(ctx context.Context, args ...any) *redis.Cmd
		}).Do(ctx, args...).Slice()
		if isReply(err) {
			return nil
		}
		for i, entry := range reply {
			if entry == nil && i < len(names) {
				missing[names[i]] = ""
			}
		}
		return err
	}
	var err error
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		servers := make(chan *redis.Client, 1024)
		err = cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error { servers <- c; return nil })
		close(servers)
		for c := range servers {
			err = errors.Join(err, ask(ctx, c))
		}
	} else {
		err = ask(ctx, rdb)
	}
	if err != nil {
		return nil, fmt.Errorf("asking Redis which commands it has (COMMAND INFO): %w", err)
	}
	return slices.Sorted(maps.Keys(missing)), nil
}

// tryCommands runs the commands that are needed, and returns what Redis said to those
// that it refused, by name.
func tryCommands(ctx context.Context, rdb redis.UniversalClient, queue string) (map[string]string, error) {
	keys, channel := trialKeys(queue), job.ReplyChannel(queue, "doctor")
	failed := map[string]string{}
	note := func(name string, err error) error {
		if isReply(err) {
			failed[name] = err.Error()
			return nil
		}
		if errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	}
	reply, err := rdb.Eval(ctx, trialLua, keys, channel).StringSlice()
	for i := 0; i+1 < len(reply); i += 2 {
		failed[reply[i]] = reply[i+1]
	}
	noScripts := isReply(err)
	if cluster, ok := rdb.(*redis.ClusterClient); ok && err == nil { // each has users and names of its own
		var mu sync.Mutex // guards err
		ferr := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			one := c.Eval(ctx, "return 1", nil).Err()
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, one)
			return nil
		})
		err = errors.Join(err, ferr)
	}
	sub := rdb.Subscribe(ctx, channel)
	defer func() { _ = sub.Close() }()
	_, serr := sub.ReceiveTimeout(ctx, subscribeLimit)
	errs := []error{note("eval", err), note("subscribe", serr)}
	if noScripts {
		// Does the user lack scripts alone, or may it only look?
		errs = append(errs, note("get", rdb.Get(ctx, keys[0]).Err()), note("pexpire", rdb.PExpire(ctx, keys[0], time.Second).Err()))
		if refused := failed["pexpire"]; refused != "" {
			failed["lpush"], failed["rpush"], failed["sadd"], failed["zadd"] = refused, refused, refused, refused
		}
		return failed, errors.Join(errs...)
	}
	errs = append(errs,
		note("evalsha", ignore(rdb.EvalSha(ctx, strings.Repeat("0", 40), keys).Err(), "NOSCRIPT")),
		note("blmove", rdb.BLMove(ctx, keys[0], keys[1], "RIGHT", "LEFT", shortest).Err()),
		note("memory|usage", rdb.MemoryUsage(ctx, keys[0]).Err()),
		note("client|id", rdb.ClientID(ctx).Err()),
		note("client|unblock", rdb.ClientUnblock(ctx, 0).Err()), // there is no such client
	)
	return failed, errors.Join(errs...)
}

const (
	// shortest is how long a blocking command is tried.
	shortest = 10 * time.Millisecond
	// subscribeLimit is how long Redis may take to answer a SUBSCRIBE.
	subscribeLimit = 2 * time.Second
)

// ignore drops an error reply that begins so.
func ignore(err error, prefix string) error {
	if err != nil && strings.HasPrefix(err.Error(), prefix) {
		return nil
	}
	return err
}

// isReply reports whether the error is one that Redis replied.
func isReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok && !errors.Is(err, redis.Nil)
}

// isDenied reports whether Redis refused the command to this user, in the words of
// its versions.
func isDenied(text string) bool {
	return slices.ContainsFunc([]string{"NOPERM", "can't run this command", "no permissions", "can't access", "can't publish", "ACL failure"}, func(part string) bool { return strings.Contains(text, part) })
}
