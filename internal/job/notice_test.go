package job

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestNoticesThatDoNotParseAreErrors(t *testing.T) {
	good := "a  out 0 1 1 0 0 done 3\nxyz\n"
	for _, bad := range []string{
		"a", "\n", good[:len(good)-1], good[:len(good)-2], "a  out x 1 1 0 0 done 0\n\n", "a  out -1 1 1 0 0 done 0\n\n", "a  end -2 1 1 0 0 done 0\n\n",
		"a  out 0 1 1 0 0 done 99\nxyz\n", "a  out 0 1 1 0 0 done\n\n", "a  out 0 -1 1 0 0 done 0\n\n",
	} {
		if got, err := noticesOf(good + bad); err == nil || len(got) != 1 || string(got[0].Frame) != "xyz" {
			t.Errorf("%q behind a good notice is read as %+v, %v", bad, got, err)
		}
	}
}

func TestEveryEndIsToldWithItsKind(t *testing.T) {
	onAll(t, func(t *testing.T, rdb redis.UniversalClient) {
		sub := rdb.Subscribe(t.Context(), ReplyChannel("q", "pool"))
		t.Cleanup(func() { sub.Close() })
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		reasons := map[string]State{
			"enough": Canceled, "unstarted: says a person": Canceled, "missing": Canceled, "missingx: y": Canceled, "": Canceled,
			Untrusted.Because("no key"): Untrusted, Missing.Because("args"): Missing, Corrupt.Because("calls"): Corrupt,
		}
		for reason, want := range reasons {
			name := "j" + string(rune('a'+len(reason)))
			submit(t, rdb, Sealed, newCall("q", name))
			if got, err := Cancel(t.Context(), rdb, "q", reason, Ref{Name: name}); err != nil || !slices.Equal(got, []State{Canceled}) {
				t.Fatalf("cancel answers %v, %v", got, err)
			}
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all, err := noticesOf(m.Payload)
			if err != nil || len(all) != 1 || all[0].State != want || all[0].What != EndedEarly || all[0].Name != name {
				t.Errorf("%q is told as %+v, %v; want %s", reason, all, err, want)
			}
			if s := snapshot(t, rdb, name); s.State != want {
				t.Errorf("%q is read as %s, want %s", reason, s.State, want)
			}
		}
	})
}

// noticesOf are the notices of a message before the first that does not parse.
func noticesOf(message string) (all []Notice, err error) {
	for n, err := range ParseNotices(message) {
		if err != nil {
			return all, err
		}
		all = append(all, n)
	}
	return all, nil
}
