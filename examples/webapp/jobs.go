package main

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/examples/webapp/inspect"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// jobs is what the pages know of jobs. It holds no state: the job is in distpool's
// record, and what distpool does not know of it, the manifest, beside it in Redis.
// So this process may end at any time, and there may be several.
type jobs struct {
	pool *producer.Pool
	rdb  redis.UniversalClient
	keep time.Duration // how long results are kept after the end of a job
}

// manifest is what the pages show of a job besides its outcomes.
type manifest struct {
	Files   []string // their names, in the order of the calls
	Created time.Time
}

const (
	// jobTTL is how long a job may wait for workers.
	jobTTL = 24 * time.Hour
	// manifestTTL outlasts the job, so that a link to it can say "no longer" instead
	// of "never heard of it".
	manifestTTL = 7 * 24 * time.Hour
)

// handle is the handle on a job.
type handle = results.MapResult[inspect.Report]

// errNoJob says that there never was a job of this ID, as far as is known, and
// errExpired that there was one.
var (
	errNoJob   = errors.New("no such job")
	errExpired = errors.New("the job's results are not kept any longer")
)

// region:submit

// submit maps the task over the files. The job's ID is made of the form that was
// sent and what was in it: sending it twice, or again after an answer that got
// lost, leads to the same job.
func (j *jobs) submit(ctx context.Context, form string, files []inspect.File) (id string, err error) {
	id = jobID(form, files)
	if err := j.describe(ctx, id, files); err != nil {
		return "", err
	}
	_, err = producer.MapAsync(ctx, j.pool, inspect.Task, files, producer.ID(id), producer.ChunkSize(1))
	return id, err
}

// attach is how every request finds its job again, whichever process submitted it.
func (j *jobs) attach(ctx context.Context, id string) (*handle, manifest, error) {
	m, err := j.manifest(ctx, id)
	if err != nil {
		return nil, manifest{}, err
	}
	h, err := producer.AttachMap(ctx, j.pool, inspect.Task, id)
	if errors.Is(err, results.ErrUnknownJob) {
		err = errExpired // its manifest is there
	}
	return h, m, err
}

// endregion:submit

// jobID is random for those who do not know the form, which was sent to one
// browser: whoever has the link to a job may see and cancel it.
func jobID(form string, files []inspect.File) string {
	sum := sha256.New()
	part := func(b []byte) {
		_ = binary.Write(sum, binary.BigEndian, int64(len(b))) // a hash takes everything
		_, _ = sum.Write(b)
	}
	part([]byte(form))
	for _, f := range files {
		part([]byte(f.Name))
		part(f.Data)
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum.Sum(nil))[:idLength])
}

const idLength = 26

var idPattern = regexp.MustCompile(fmt.Sprintf("^[a-z2-7]{%d}$", idLength))

func manifestKey(id string) string { return "webapp:job:" + id }

// describe keeps the job's manifest, before the job exists: the other way round,
// a process that ends in between would leave a job that no page can show.
func (j *jobs) describe(ctx context.Context, id string, files []inspect.File) error {
	m := manifest{Created: time.Now().UTC()}
	for _, f := range files {
		m.Files = append(m.Files, f.Name)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return j.rdb.Set(ctx, manifestKey(id), data, manifestTTL).Err()
}

func (j *jobs) manifest(ctx context.Context, id string) (m manifest, err error) {
	if !idPattern.MatchString(id) {
		return m, errNoJob
	}
	data, err := j.rdb.Get(ctx, manifestKey(id)).Bytes()
	if errors.Is(err, redis.Nil) {
		return m, errNoJob
	}
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	return m, err
}
