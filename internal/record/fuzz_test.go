package record

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// What comes from Redis may have been written by anybody: it is refused or sane,
// and nothing panics.

func FuzzParseNotice(f *testing.F) {
	f.Add("J:G out 0 1 1 0 2 done\n0 1 0\n[1]")
	f.Add("J end -1 0 0 0 0 canceled\n")
	f.Add("J rec 9223372036854775807 1 1 1 1 open\n")
	f.Add("J out -1 -1 1 1 1 open\n")
	f.Fuzz(func(t *testing.T, payload string) {
		n, err := ParseNotice(payload)
		if err != nil {
			return
		}
		if n.Chunk < -1 || n.Chunk < 0 && (n.What == NoticeOut || n.What == NoticeRec) || n.Recorded < 0 || n.Done < 0 || n.Failed < 0 || n.Running < 0 {
			t.Fatalf("accepted as %+v", n)
		}
		if n.Done+n.Failed < 0 || n.Recorded+n.Running < 0 || n.Chunk+1 < 0 {
			t.Fatalf("%+v overflows", n)
		}
		if ParseRef(n.Job.String()) != n.Job {
			t.Fatalf("the job %+v does not come back", n.Job)
		}
	})
}

func FuzzParseSnapshot(f *testing.F) {
	f.Add("1\x00\x00square\x00json\x00q\x00r\x00sealed\x00\x001\x001\x001\x000\x000\x000\x005\x00\x00\x00\x00\x00\x00\x002\x00w")
	f.Add("1\x00G\x00t\x00c\x00q\x00r\x00canceled\x00untrusted: x\x00\x003\x003\x001\x009223372036854775807\x00-1\x00x\x00y\x00z\x00\x00\x00-5\x00\x00\x00")
	f.Fuzz(func(t *testing.T, fields string) {
		reply := make([]any, len(snapshotFields))
		for i, v := range strings.SplitN(fields, "\x00", len(reply)) {
			if v != "" {
				reply[i] = v
			}
		}
		s, err := ParseSnapshot("J", redis.NewSliceResult(reply, nil))
		if err != nil || s.State == Gone {
			return
		}
		for _, n := range []int{s.Calls, s.Chunks, s.Recorded, s.Done, s.Failed, s.Running} {
			if n < 0 || n > maxCount {
				t.Fatalf("accepted as %+v", s)
			}
		}
	})
}

func FuzzParseBegun(f *testing.F) {
	f.Add("run", "0 1\n[1]", "json", "1", "", "square", "", int64(1))
	f.Add("lost", "", "", "-1", "x", "", "{}", int64(-7))
	f.Add("busy", "w", "", "", "", "", "", int64(0))
	f.Fuzz(func(t *testing.T, verdict, args, codec, calls, partial, task, policy string, n int64) {
		reply := []any{verdict, n, args, codec, calls, partial, task, policy}
		for cut := range len(reply) + 1 {
			b, err := parseBegun(reply[:cut])
			if err == nil && (b.Calls < 0 || b.Calls > maxCount) {
				t.Fatalf("accepted as %+v", b)
			}
		}
		_, _ = parseBegun([]any{verdict, args, n, nil, calls})
	})
}
