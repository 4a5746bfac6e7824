package e2e_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/names"
)

// find is where the record of a job is: its lane, and its name in that.
func (e *env) find(ctx context.Context, id string) (lane, name string, err error) {
	a := names.SplitAddress(id)
	lane, err = lanes.NewRouter(e.rdb).Find(ctx, a.Queue, a.Name)
	return lane, a.Name, err
}

// lane is the lane of a job.
func (e *env) lane(t *testing.T, id string) string {
	t.Helper()
	lane, _, err := e.find(ctx(t), id)
	must(t, err)
	return lane
}

// lanes are the lanes of the case's queue.
func (e *env) lanes(t *testing.T) []string {
	t.Helper()
	all, err := lanes.NewRouter(e.rdb).Reading().Lanes(ctx(t), e.queue)
	must(t, err)
	return all
}

// archive moves the first deliveries of chunks of a job to asynq's archive, as an operator can.
func (e *env) archive(t *testing.T, id string, chunks ...int) {
	t.Helper()
	for _, k := range chunks {
		must(t, e.inspector().ArchiveTask(e.lane(t, id), taskID(id, k, 1)))
	}
}

// oneLane gives the case's queue a single lane, before its first use.
func (e *env) oneLane(t *testing.T) {
	t.Helper()
	must(t, e.rdb.HSet(ctx(t), "distpool:@{lanes}", e.queue, "1@0").Err())
}

// keysOfLanes lists the keys that begin with the prefix of any lane of the case's queue.
func (e *env) keysOfLanes(t *testing.T, prefix func(lane string) string) []string {
	t.Helper()
	var all []string
	for _, lane := range e.lanes(t) {
		all = append(all, e.keys(t, prefix(lane)+"*")...)
	}
	return all
}

// jobsKeys lists the keys of all jobs of the case's queue.
func (e *env) jobsKeys(t *testing.T) []string {
	t.Helper()
	return e.keysOfLanes(t, func(lane string) string { return job.Prefix(lane) + "job:" })
}

// key is the hash of a job.
func (e *env) key(t *testing.T, id string) string {
	t.Helper()
	return job.Key(e.lane(t, id), names.SplitAddress(id).Name)
}

// field is a field of a job's hash, empty where there is none.
func (e *env) field(t *testing.T, id, field string) string {
	t.Helper()
	v, err := e.rdb.HGet(ctx(t), e.key(t, id), field).Result()
	if err != nil && err != redis.Nil {
		t.Fatal(err)
	}
	return v
}

// setField sets a field of a job's hash.
func (e *env) setField(t *testing.T, id, field string, value any) {
	t.Helper()
	must(t, e.rdb.HSet(ctx(t), e.key(t, id), field, value).Err())
}

// about changes the description of a job.
func (e *env) about(ctx context.Context, id string, change func(*job.About)) error {
	lane, name, err := e.find(ctx, id)
	if err != nil {
		return err
	}
	key := job.Key(lane, name)
	text, err := e.rdb.HGet(ctx, key, "about").Result()
	if err != nil {
		return err
	}
	about, err := job.ParseAbout(text)
	if err != nil {
		return err
	}
	change(&about)
	if text, err = about.Encode(); err != nil {
		return err
	}
	return e.rdb.HSet(ctx, key, "about", text).Err()
}

// snapshot is what a job's record says.
func (e *env) snapshot(t *testing.T, id string) job.Snapshot {
	t.Helper()
	s, err := job.Read(ctx(t), e.rdb, e.lane(t, id), names.SplitAddress(id).Name)
	must(t, err)
	return s
}

// ref names a job in its lane.
func (e *env) ref(t *testing.T, id string) job.Ref {
	t.Helper()
	return job.Ref{Name: names.SplitAddress(id).Name, Gen: e.field(t, id, "gen")}
}

// taskID is asynq's ID of a delivery of a job whose name was drawn.
func taskID(id string, chunk, number int) string {
	return job.Delivery{Ref: job.Ref{Name: names.SplitAddress(id).Name}, Chunk: chunk, Number: number}.TaskID()
}

// pending lists the deliveries that wait in the case's queue.
func (e *env) pending(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, lane := range e.lanes(t) {
		ids, err := e.rdb.LRange(ctx(t), asynqfmt.PendingKey(lane), 0, -1).Result()
		must(t, err)
		all = append(all, ids...)
	}
	return all
}

// deliver enqueues a delivery of a job in a lane, as every program can that writes to Redis.
func (e *env) deliver(t *testing.T, lane, task string, d job.Delivery) {
	t.Helper()
	_, err := asynq.NewClientFromRedisClient(e.rdb).EnqueueContext(ctx(t), asynq.NewTask(task, job.Payload(lane, d)), asynq.Queue(lane), asynq.TaskID(d.TaskID()))
	must(t, err)
}

// blobsOf lists the large frames of a job, by the key of the first piece of each.
func (e *env) blobsOf(t *testing.T, id string) []string {
	t.Helper()
	var firsts []string
	prefix := job.Prefix(e.lane(t, id)) + "frame:" + names.SplitAddress(id).Name + ":"
	for _, key := range e.keys(t, prefix+"*") {
		token, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), ":")
		firsts = append(firsts, prefix+token)
	}
	slices.Sort(firsts)
	return slices.Compact(firsts)
}

// awaitDraining waits until the worker lists itself as one that takes no more calls.
func (e *env) awaitDraining(t *testing.T, worker string) {
	t.Helper()
	eventually(t, "the worker has noticed that it was told to stop", func() bool {
		servers, err := e.inspector().Servers()
		must(t, err)
		return slices.ContainsFunc(servers, func(s *asynq.ServerInfo) bool { return s.ID == worker && s.Status == "stopped" })
	})
}

// waitingFours lists the jobs of which four deliveries wait in the case's queue.
func (e *env) waitingFours(t *testing.T) []string {
	t.Helper()
	n := map[string]int{}
	for _, id := range e.pending(t) {
		name, _, _ := strings.Cut(id, ":")
		n[name]++
	}
	var jobs []string
	for name, deliveries := range n {
		if deliveries == 4 {
			jobs = append(jobs, e.queue+"/"+name)
		}
	}
	return jobs
}
