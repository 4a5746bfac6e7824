package cli_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/cli"
	"github.com/distpool/distpool/internal/redistest"
)

type finding struct{ Check, Verdict, Found, Remedy string }

// doctor returns the exit code and the verdicts by check, and sees to it that what
// is wrong has a remedy, and what is right has none.
func doctor(t *testing.T, addr string) (code int, verdicts map[string]string, found map[string]finding) {
	t.Helper()
	got := program(bounded(t), addr, "", "doctor", "--json")
	verdicts, found = map[string]string{}, map[string]finding{}
	for _, f := range decode[finding](t, got.out) {
		verdicts[f.Check], found[f.Check] = f.Verdict, f
		if f.Found == "" || (f.Verdict == "ok") != (f.Remedy == "") {
			t.Errorf("got %+v", f)
		}
	}
	if len(found) == 0 {
		t.Fatalf("got %+v", got)
	}
	delete(verdicts, "latency") // on a machine that is busy it may be anything
	return got.code, verdicts, found
}

func TestDoctorIsContentWithAHealthyPool(t *testing.T) {
	addr := redistest.Start(t, redistest.Config("maxmemory 1gb", "maxmemory-policy noeviction", "appendonly yes")).Addr()
	startWorker(t, addr)
	if got := program(bounded(t), addr, "", "apply", "square", "12"); got.code != cli.ExitOK {
		t.Fatalf("%+v", got)
	}
	want := map[string]string{
		"redis": "ok", "eviction": "ok", "memory": "ok", "persistence": "ok", "clock": "ok", "workers": "ok", "queue distpool": "ok",
	}
	code, verdicts, found := doctor(t, addr)
	if code != cli.ExitOK || !maps.Equal(verdicts, want) {
		t.Errorf("exit code %d, %+v", code, found)
	}
	if got := program(bounded(t), addr, "", "doctor"); got.code != cli.ExitOK || !strings.HasPrefix(got.out, "CHECK ") {
		t.Errorf("got %+v", got)
	}
}

func TestDoctorSaysThatAFullRedisIsBad(t *testing.T) {
	addr := redistest.Start(t, redistest.Config("maxmemory 100kb", "maxmemory-policy noeviction")).Addr() // less than it has when it starts
	if code, verdicts, found := doctor(t, addr); code != cli.ExitCallFailed || verdicts["memory"] != "bad" {
		t.Errorf("exit code %d, %+v", code, found)
	}
}

func TestDoctorFindsWhatEndangersJobs(t *testing.T) {
	addr := redistest.Start(t, redistest.Config("maxmemory 0", "maxmemory-policy allkeys-lru", "appendonly no")).Addr()
	submitted(t, addr, "apply", "square", "1")
	want := map[string]string{
		"redis": "ok", "eviction": "bad", "memory": "warning", "persistence": "warning", "clock": "ok", "workers": "warning", "queue distpool": "bad",
	}
	code, verdicts, found := doctor(t, addr)
	if code != cli.ExitCallFailed || !maps.Equal(verdicts, want) {
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
	_, verdicts, found := doctor(t, redistest.ClusterURL(servers))
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
