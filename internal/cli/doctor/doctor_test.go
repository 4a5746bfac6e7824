package doctor_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/cli/doctor"
	"github.com/distpool/distpool/internal/redistest"
)

type finding struct{ Check, Verdict, Found, Remedy string }

// examined returns the exit code and the verdicts by check, and sees to it that what
// is wrong has a remedy, and what is right has none.
func examined(t *testing.T, addr string) (code int, verdicts map[string]string, found map[string]finding) {
	t.Helper()
	got := clitest.Run(t, addr, "", "doctor", "--json")
	verdicts, found = map[string]string{}, map[string]finding{}
	for _, f := range clitest.Decode[finding](t, got.Out) {
		verdicts[f.Check], found[f.Check] = f.Verdict, f
		if f.Found == "" || (f.Verdict == "ok") != (f.Remedy == "") {
			t.Errorf("got %+v", f)
		}
	}
	if len(found) == 0 {
		t.Fatalf("got %+v", got)
	}
	delete(verdicts, "latency") // on a machine that is busy it may be anything
	return got.Code, verdicts, found
}

func TestDoctorIsContentWithAHealthyPool(t *testing.T) {
	addr := redistest.Start(t, redistest.Config("maxmemory 1gb", "maxmemory-policy noeviction", "appendonly yes")).Addr()
	clitest.StartWorker(t, addr)
	if got := clitest.Run(t, addr, "", "apply", "square", "12"); got.Code != console.ExitOK {
		t.Fatalf("%+v", got)
	}
	want := map[string]string{
		"redis": "ok", "role": "ok", "commands": "ok", "eviction": "ok", "memory": "ok", "persistence": "ok", "clock": "ok", "workers": "ok", "queue distpool": "ok",
	}
	code, verdicts, found := examined(t, addr)
	if code != console.ExitOK || !maps.Equal(verdicts, want) {
		t.Errorf("exit code %d, %+v", code, found)
	}
	if got := clitest.Run(t, addr, "", "doctor"); got.Code != console.ExitOK || !strings.HasPrefix(got.Out, "CHECK ") {
		t.Errorf("got %+v", got)
	}
}

func TestDoctorSaysThatAFullRedisIsBad(t *testing.T) {
	addr := redistest.Start(t, redistest.Config("maxmemory 100kb", "maxmemory-policy noeviction")).Addr() // less than it has when it starts
	if code, verdicts, found := examined(t, addr); code != console.ExitCallFailed || verdicts["memory"] != "bad" {
		t.Errorf("exit code %d, %+v", code, found)
	}
}

func TestDoctorFindsWhatEndangersJobs(t *testing.T) {
	addr := redistest.Start(t, redistest.Config("maxmemory 0", "maxmemory-policy allkeys-lru", "appendonly no")).Addr()
	clitest.Submitted(t, addr, "apply", "square", "1")
	want := map[string]string{
		"redis": "ok", "role": "ok", "commands": "ok", "eviction": "bad", "memory": "warning", "persistence": "warning", "clock": "ok", "workers": "warning", "queue distpool": "bad",
	}
	code, verdicts, found := examined(t, addr)
	if code != console.ExitCallFailed || !maps.Equal(verdicts, want) {
		t.Errorf("exit code %d, %+v", code, found)
	}
	if f := found["queue distpool"]; !strings.Contains(f.Found, "1 deliveries, and no worker") {
		t.Errorf("got %+v", f)
	}
}

func TestDoctorLooksAtEachMasterOfACluster(t *testing.T) {
	servers := redistest.StartCluster(t, 3, redistest.Config("maxmemory-policy noeviction"))
	one := redis.NewClient(&redis.Options{Addr: servers[1].Addr()})
	defer one.Close()
	if err := one.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	_, verdicts, found := examined(t, redistest.ClusterURL(servers))
	for i, s := range servers {
		want := "ok"
		if i == 1 {
			want = "bad"
		}
		if got := verdicts["eviction of "+s.Addr()]; got != want {
			t.Errorf("server %d: %q, want %q; all: %+v", i, got, want, found)
		}
	}
}

func TestDoctorSaysThatAReplicaIsBad(t *testing.T) {
	master := redistest.Start(t)
	host, port, _ := strings.Cut(master.Addr(), ":")
	replica := redistest.Start(t, redistest.Config("replicaof "+host+" "+port))
	code, verdicts, found := examined(t, replica.Addr())
	if code != console.ExitCallFailed || verdicts["role"] != "bad" || !strings.Contains(found["role"].Found, port) || !strings.Contains(found["role"].Remedy, "master") {
		t.Errorf("exit code %d, %+v", code, found)
	}
}

func TestDoctorSaysWhichCommandsAreMissing(t *testing.T) {
	for _, name := range []string{"EVAL", "EVALSHA", "SUBSCRIBE", "BLMOVE", "HSTRLEN", "LPOP", "XADD"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := redistest.Start(t, redistest.Config(fmt.Sprintf(`rename-command %s ""`, name))).Addr()
			code, _, found := examined(t, addr)
			if f := found["commands"]; code != console.ExitCallFailed || f.Verdict != "bad" || !strings.Contains(f.Found, "Redis has no "+name) || !strings.Contains(f.Remedy, "rename-command") {
				t.Errorf("exit code %d, %+v", code, f)
			}
		})
	}
	t.Run("on one master of a Cluster", func(t *testing.T) {
		t.Parallel()
		servers := redistest.StartCluster(t, 3)
		for i, s := range servers {
			rules := "+@all"
			if i == 1 {
				rules = "+@all -eval -evalsha"
			}
			one := redis.NewClient(&redis.Options{Addr: s.Addr()})
			defer one.Close()
			if err := one.Do(t.Context(), append([]any{"ACL", "SETUSER", "default"}, words(rules)...)...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		_, _, found := examined(t, redistest.ClusterURL(servers))
		if f := found["commands"]; f.Verdict != "bad" || !strings.Contains(f.Found, "EVAL") {
			t.Errorf("%+v", f)
		}
	})
}

func words(s string) (all []any) {
	for w := range strings.FieldsSeq(s) {
		all = append(all, w)
	}
	return all
}

func TestDoctorSaysWhatItsUserMayNot(t *testing.T) {
	srv := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	defer rdb.Close()
	for i, tt := range []struct{ rules, verdict, found string }{
		{"~* &* +@all", "ok", "a worker and a producer"},
		{"~* &* +@all -eval", "bad", "EVAL"},
		{"~* &* +@all -@scripting", "bad", "EVAL"},
		{"~* &* +@all -blmove -hstrlen", "bad", "may not run"},
		{"~* &* +@all -blmove", "ok", "a producer"},
		{"~* &* +@all -xadd", "ok", "a worker"},
		{"~* &* +@all -publish", "bad", "PUBLISH"},
		{"~* &* +@all -subscribe", "bad", "SUBSCRIBE"},
		{"~* resetchannels +@all", "bad", "PUBLISH, SUBSCRIBE"},
		{"~app:* &* +@all", "bad", "may not run"},
		{"%R~* &* +@all", "warning", "neither submit nor run"},
		{"~* &* +@read +info +ping +time", "warning", "neither submit nor run"},
	} {
		user := fmt.Sprintf("u%d", i)
		if err := rdb.Do(t.Context(), append([]any{"ACL", "SETUSER", user, "on", ">p"}, words(tt.rules)...)...).Err(); err != nil {
			t.Fatal(err)
		}
		got := clitest.Run(t, "redis://"+user+":p@"+srv.Addr(), "", "doctor", "--json")
		var f finding
		for _, one := range clitest.Decode[finding](t, got.Out) {
			if one.Check == "commands" {
				f = one
			}
		}
		if f.Verdict != tt.verdict || !strings.Contains(f.Found, tt.found) {
			t.Errorf("%s: %+v; %+v", tt.rules, f, got)
		}
	}
	if keys := rdb.Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("it left %q", keys)
	}
}

// What doctor tries is what docs/security.md allows.
func TestDoctorTriesWhatTheRulesAllow(t *testing.T) {
	page, err := os.ReadFile("../../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for user, tried := range doctor.TriedCommands() {
		line := regexp.MustCompile(`(?m)^user distpool-` + user + ` .*$`).Find(page)
		var allowed []string
		for _, m := range regexp.MustCompile(`\+([a-z|]+)`).FindAllSubmatch(line, -1) {
			allowed = append(allowed, string(m[1]))
		}
		slices.Sort(allowed)
		slices.Sort(tried)
		if !slices.Equal(allowed, tried) {
			t.Errorf("%s: doctor tries %q, the page allows %q", user, tried, allowed)
		}
	}
}
