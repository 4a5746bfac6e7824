package metrics

import (
	"errors"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// maxNames bounds how many different names a label may have: each is a set of
// time series for as long as the process lives.
const maxNames = 500

// other stands for the names beyond maxNames, and for tasks that a worker does
// not know.
const other = "(other)"

// labels bounds the names of tasks and queues.
type labels struct {
	mu     sync.RWMutex // guards all below
	tasks  map[string]bool
	queues map[string]bool
}

func (l *labels) task(name string) string  { return l.bounded(&l.tasks, name) }
func (l *labels) queue(name string) string { return l.bounded(&l.queues, name) }

// know admits the names of tasks that a worker of this process runs.
func (l *labels) know(tasks []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tasks == nil {
		l.tasks = map[string]bool{}
	}
	for _, name := range tasks {
		l.tasks[name] = true
	}
}

// known is the name of a task if it was admitted. What a worker is sent to run
// may bear any name, so nothing is admitted here.
func (l *labels) known(name string) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.tasks[name] {
		return name
	}
	return other
}

func (l *labels) bounded(set *map[string]bool, name string) string {
	l.mu.RLock()
	known, full := (*set)[name], len(*set) >= maxNames
	l.mu.RUnlock()
	if known {
		return name
	}
	if full {
		return other
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if *set == nil {
		*set = map[string]bool{}
	}
	if !(*set)[name] && len(*set) >= maxNames {
		return other
	}
	(*set)[name] = true
	return name
}

// The kinds of Redis's errors.
var errorKinds = []string{"connection", "memory", "moved", "permission", "other"}

// errorKind is the kind of an error of a round trip. What is no reply of Redis is
// about the way to it.
func errorKind(err error) string {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return "connection"
	}
	word, _, _ := strings.Cut(reply.Error(), " ")
	switch word {
	case "OOM":
		return "memory"
	case "MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN", "CROSSSLOT":
		return "moved"
	case "NOPERM", "NOAUTH", "WRONGPASS":
		return "permission"
	}
	return "other"
}
