package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// setting is a line of a unit.
type setting struct{ section, key, value string }

func unit(t *testing.T, name string) (settings []setting) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "deploy", "systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	section := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" {
			t.Fatalf("%s: %q is no setting", name, line)
		}
		settings = append(settings, setting{section, key, value})
	}
	return settings
}

func value(settings []setting, key string) string {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if i < 0 {
		return ""
	}
	return settings[i].value
}

// allowed are the keys that our units use, each of which is systemd's.
var allowed = map[string][]string{
	"Unit": {"Description", "Documentation", "Wants", "After", "StartLimitIntervalSec"},
	"Service": {
		"Type", "Environment", "EnvironmentFile", "ExecStart", "KillSignal", "KillMode", "TimeoutStopSec", "Restart", "RestartSec", "RestartPreventExitStatus",
		"LoadCredential", "DynamicUser", "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem", "ProtectHome",
		"PrivateTmp", "PrivateDevices", "ProtectProc", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups",
		"ProtectClock", "ProtectHostname", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
		"LockPersonality", "MemoryDenyWriteExecute", "SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber", "UMask", "MemoryMax", "TasksMax",
	},
	"Install": {"WantedBy"},
}

var units = []string{"distpool-worker@.service", "distpool-monitor.service"}

func TestUnitsHaveOnlyKnownSettingsAndAreHardened(t *testing.T) {
	for _, name := range units {
		u := unit(t, name)
		for _, s := range u {
			if !slices.Contains(allowed[s.section], s.key) {
				t.Errorf("%s: [%s] %s is not known here; look it up, and add it", name, s.section, s.key)
			}
		}
		for key, want := range map[string]string{
			"DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes",
			"CapabilityBoundingSet": "", "RestrictNamespaces": "yes", "SystemCallArchitectures": "native", "WantedBy": "multi-user.target",
		} {
			if !slices.ContainsFunc(u, func(s setting) bool { return s.key == key }) || value(u, key) != want {
				t.Errorf("%s: %s is %q, want %q", name, key, value(u, key), want)
			}
		}
		if restart := value(u, "Restart"); restart != "always" && restart != "on-failure" {
			t.Errorf("%s: Restart is %q", name, restart)
		}
	}
}

// systemd itself reads the units, where it is installed.
func TestSystemdTakesTheUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	for _, name := range units {
		b, err := os.ReadFile(filepath.Join(root, "deploy", "systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, p := range []string{"worker", "distpool"} { // it wants the programs to be there
			text = strings.ReplaceAll(text, "/usr/local/bin/"+p+" ", program(t, p)+" ")
		}
		verify := func(text string) ([]byte, error) {
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return exec.Command(analyze, "verify", "--man=no", file).CombinedOutput()
		}
		if out, err := verify(text); err != nil || len(out) > 0 {
			t.Errorf("%s: systemd-analyze verify: %v\n%s", name, err, out)
		}
		if out, err := verify(strings.Replace(text, "RestartSec=2", "RestartSec=soon", 1)); err == nil && len(out) == 0 {
			t.Errorf("%s: systemd-analyze takes anything", name)
		}
	}
}

// command is what a unit runs, with what systemd puts in for its variables.
func command(t *testing.T, name string) []string {
	t.Helper()
	line := value(unit(t, name), "ExecStart")
	file, ok := strings.CutPrefix(line, "/usr/local/bin/")
	if !ok {
		t.Fatalf("%s runs %q", name, line)
	}
	return strings.Fields(strings.NewReplacer("%H", "host", "%i", "1", "$WORKER_FLAGS", "-http :9091", "${CREDENTIALS_DIRECTORY}", "/run/credentials").Replace(file))
}

func TestUnitsRunCommandsThatAreAccepted(t *testing.T) {
	for _, name := range units {
		accepted(t, name, command(t, name))
	}
	monitor := unit(t, "distpool-monitor.service")
	id, _, _ := strings.Cut(value(monitor, "LoadCredential"), ":")
	if want := "/run/credentials/" + id; flagValue(command(t, "distpool-monitor.service"), "--token-file") != want {
		t.Errorf("the monitor reads its token from %q, want %s", command(t, "distpool-monitor.service"), want)
	}
	deploy(t, command(t, "distpool-monitor.service")).probed(t, "distpool-monitor.service", "/healthz")
	deploy(t, command(t, "distpool-worker@.service")).probed(t, "distpool-worker@.service", "/readyz")
}

func TestWorkerUnitsDrainBeforeTheyAreKilled(t *testing.T) {
	const name = "distpool-worker@.service"
	u := unit(t, name)
	stop, err := time.ParseDuration(value(u, "TimeoutStopSec") + "s")
	if err != nil {
		t.Fatal(err)
	}
	if g := grace(t, name, command(t, name)); stop < g+5*time.Second {
		t.Errorf("TimeoutStopSec is %v, want more than the grace of %v, and some seconds to end", stop, g)
	}
	// A worker ends by itself, well, when it is to be recycled; and with 2 when it
	// was called wrongly, which the next start would be as well.
	if value(u, "Restart") != "always" || value(u, "RestartPreventExitStatus") != "2" || value(u, "KillSignal") != "SIGTERM" {
		t.Errorf("it ends with %s, and is restarted %s but for exit code %s", value(u, "KillSignal"), value(u, "Restart"), value(u, "RestartPreventExitStatus"))
	}
}
