package redisconn

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// MinVersion is the oldest Redis that distpool works with. It is the
	// oldest whose scripts and commands asynq and distpool use.
	MinVersion = "6.2"

	// checkTimeout bounds Open and Check when the caller's context does not.
	checkTimeout = 5 * time.Second
)

// Open returns a client for the Redis that url names, in the forms of [Parse],
// after it has answered a [Check]. The caller closes the client. Open ends with
// ctx, and after 5 s at the latest; see the Err variables for what can go wrong.
func Open(ctx context.Context, url string) (redis.UniversalClient, error) {
	t, err := Parse(url)
	if err != nil {
		return nil, err
	}
	return t.Open(ctx)
}

// Open is [Open] for a URL that is parsed already.
func (t *Target) Open(ctx context.Context) (redis.UniversalClient, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	where := t.redacted + t.origin

	if err := t.probe(ctx); err != nil {
		return nil, explainCtx(ctx, err, where)
	}
	client := t.Client()
	if err := check(ctx, client, where); err != nil {
		// With Sentinels, Close waits for the question that is on its way to one,
		// which may take longer than ctx lasts.
		go client.Close()
		return nil, err
	}
	return client, nil
}

// probe opens a connection to one of the servers that the URL names, and closes
// it again. A client of go-redis dials up to 20 times before it gives up, which
// takes seconds, and logs every fifth; at the start a refused connection is an
// answer.
func (t *Target) probe(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the dials that lost
	results := make(chan error, len(t.addrs))
	for _, addr := range t.addrs {
		go func() {
			conn, err := t.dial(ctx, t.network, addr)
			if err == nil {
				conn.Close()
			}
			results <- err
		}()
	}
	var errs []error
	for range t.addrs {
		err := <-results
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Check asks the servers behind client whether distpool can work with them:
// each answers PING, is at least [MinVersion], and is of the kind (single
// server, Cluster) that the client takes it for; and the client's pool has two
// connections or more. A server that does not tell
// its version, or may not, is accepted. Check ends with ctx, and after 5 s at
// the latest, even if the client ignores contexts; see the Err variables for
// what can go wrong.
func Check(ctx context.Context, client redis.UniversalClient) error {
	size, active := 0, 0
	switch c := client.(type) {
	case *redis.Client:
		size, active = c.Options().PoolSize, c.Options().MaxActiveConns
	case *redis.ClusterClient:
		size, active = c.Options().PoolSize, c.Options().MaxActiveConns
	}
	for field, n := range map[string]int{"PoolSize": size, "MaxActiveConns": active} {
		if n != 0 && n < leastPool {
			return unfit(ErrBadURL, whereabouts(client), fmt.Sprintf("the client's field %s is %d; use %d or more, since an idle worker waits on one of them, or 0 for the default of go-redis", field, n, leastPool))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	return check(ctx, client, whereabouts(client))
}

func check(ctx context.Context, client redis.UniversalClient, where string) error {
	// A client without ContextTimeoutEnabled may block for longer than ctx
	// lasts, and every client is deaf to a cancelled context while it reads.
	// The goroutine ends with the client's own timeouts, or with its Close.
	done := make(chan error, 1)
	go func() {
		if c, ok := client.(*redis.ClusterClient); ok {
			done <- checkCluster(ctx, c, where)
			return
		}
		info, err := checkNode(ctx, client, where)
		if err == nil && infoField(info, "redis_mode") == "cluster" {
			err = unfit(ErrBadURL, where, "it is a node of a Cluster; add cluster=true to the URL, or name several nodes")
		}
		done <- err
	}()
	select {
	case err := <-done:
		return explainCtx(ctx, err, where)
	case <-ctx.Done():
		return explainCtx(ctx, ctx.Err(), where)
	}
}

// explainCtx is explain, except that a cancelled caller is told just that.
func explainCtx(ctx context.Context, err error, where string) error {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("checking Redis at %s was canceled: %w", where, context.Cause(ctx))
	}
	return explain(err, where)
}

func checkCluster(ctx context.Context, client *redis.ClusterClient, where string) error {
	var masters atomic.Int32
	err := client.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		masters.Add(1)
		if _, err := checkNode(ctx, node, where); err != nil {
			return err
		}
		info, err := node.ClusterInfo(ctx).Result()
		if err = ignoreReply(err); err != nil {
			return err
		}
		if state := infoField(info, "cluster_state"); state != "" && state != "ok" {
			return unfit(ErrUnreachable, where, fmt.Sprintf("%s says that the Cluster's state is %q; see redis-cli CLUSTER INFO there", node.Options().Addr, state))
		}
		return nil
	})
	if err == nil && masters.Load() == 0 {
		return unfit(ErrUnreachable, where, "no server of the Cluster holds any slots; form it first (redis-cli --cluster create ...)")
	}
	return err
}

// checkNode checks one server, and returns its answer to INFO, empty if it
// gives none.
func checkNode(ctx context.Context, client redis.Cmdable, where string) (info string, err error) {
	if err := client.Ping(ctx).Err(); err != nil {
		return "", err
	}
	// INFO is refused to users without @dangerous, and some proxies and
	// imitations of Redis do not have it. PING has shown that the server lives.
	info, err = client.Info(ctx, "server").Result()
	if err = ignoreReply(err); err != nil {
		return "", err
	}
	if v := infoField(info, "redis_version"); v != "" && older(v, MinVersion) {
		return "", unfit(ErrTooOld, where, fmt.Sprintf("its version is %s, but distpool needs %s or newer; upgrade it, or name another one", v, MinVersion))
	}
	if infoField(info, "redis_mode") == "sentinel" {
		return "", unfit(ErrBadURL, where, "it is a Sentinel; name the master that it watches: ?master_name=NAME")
	}
	return info, nil
}

// unfit is the error for a server that answers, but does not do.
func unfit(kind error, where, why string) error {
	return &problem{kind: kind, text: "cannot use Redis at " + where + ": " + why}
}

// ignoreReply drops an error that the server itself replied.
func ignoreReply(err error) error {
	var reply redis.Error
	if errors.As(err, &reply) {
		return nil
	}
	return err
}

// infoField returns the value of a line "name:value" of an INFO reply, or "".
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	return ""
}

// older reports whether version v comes before want. Parts that are no number
// count as 0, so that an odd version is called old only by its leading numbers.
func older(v, want string) bool {
	vs, ws := strings.Split(v, "."), strings.Split(want, ".")
	for i, w := range ws {
		have := 0
		if i < len(vs) {
			have, _ = strconv.Atoi(vs[i])
		}
		if need, _ := strconv.Atoi(w); have != need {
			return have < need
		}
	}
	return false
}

// whereabouts names the Redis of a client that a caller made.
func whereabouts(client redis.UniversalClient) string {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().Addr
	case *redis.ClusterClient:
		return strings.Join(c.Options().Addrs, ",")
	}
	return fmt.Sprintf("the given client (%T)", client)
}
