package deploytest

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/distpool/distpool/internal/keyfile"
	"github.com/distpool/distpool/secure"
)

// Keys are optional in each deployment, and are turned on by what these files add.
const (
	composeKeyring    = "deploy/compose/keyring.yml"
	kubernetesKeyring = "keyring"
	systemdKeyring    = "keyring.conf"
)

// keyFile is the key file's path on the machine that compose runs on.
const keyFile = "/etc/distpool/keys"

func TestComposeGivesTheKeyringToAllWhoNeedIt(t *testing.T) {
	p := composed(t, "docker-compose.yml", composeKeyring)
	if got := p.Secrets["keyring"].File; got != keyFile {
		t.Errorf("the keys come from %q, want the file that %s names", got, keyfile.Env)
	}
	for _, name := range ours {
		s := p.Services[name]
		inside := s.Environment[keyfile.Env]
		if inside == nil || *inside != "/run/secrets/keyring" || !slices.ContainsFunc(s.Secrets, func(c types.ServiceSecretConfig) bool {
			return c.Source == "keyring" && (c.Target == "" || c.Target == *inside)
		}) {
			t.Errorf("%s reads its keys from %v, and has the secrets %+v", name, inside, s.Secrets)
		}
		if plain := service(t, name); plain.Environment[keyfile.Env] != nil {
			t.Errorf("%s needs keys without being asked", name)
		}
	}
	// What was there before still is.
	if m := p.Services["monitor"]; len(m.Secrets) != 2 || m.Environment["REDIS_URL"] == nil {
		t.Errorf("beside the keys the monitor has %+v and %v", m.Secrets, m.Environment)
	}
}

// keyed makes the programs of the deployment read a key file.
func keyed(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(secure.NewKey("k").Line()+"\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	t.Setenv(keyfile.Env, file)
}

func TestDeployedProgramsStartWithAKeyring(t *testing.T) {
	keyed(t)
	deploy(t, service(t, "worker").Command).probed(t, "worker", "/readyz")
	deploy(t, service(t, "monitor").Command).probed(t, "monitor", "/healthz")
}

// keyringComponent is the kustomization of the component.
type (
	keyringComponent struct {
		APIVersion, Kind string
		Patches          []patchFile
	}
	patchFile struct{ Path string }
)

func TestThePodsOfTheKeyringComponentCanReadIt(t *testing.T) {
	dir := filepath.Join(root, manifests, kubernetesKeyring)
	read := func(name string, into any) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = yaml.UnmarshalStrict(b, into)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var component keyringComponent
	read("kustomization.yml", &component)
	if component.Kind != "Component" || len(component.Patches) != 2 {
		t.Fatalf("it is %+v, want a component with two patches", component)
	}
	for _, patch := range component.Patches {
		var d appsv1.Deployment
		read(patch.Path, &d)
		base, c := own(t, d.Name)
		spec := d.Spec.Template.Spec
		if len(spec.Containers) != 1 || spec.Containers[0].Name != c.Name || len(spec.Volumes) != 1 || len(spec.Containers[0].VolumeMounts) != 1 || len(spec.Containers[0].Env) != 1 {
			t.Errorf("%s patches %+v", patch.Path, spec)
			continue
		}
		env, mount, volume := spec.Containers[0].Env[0], spec.Containers[0].VolumeMounts[0], spec.Volumes[0]
		if volume.Secret == nil || volume.Name != mount.Name || len(volume.Secret.Items) != 1 {
			t.Errorf("%s mounts %+v at %+v", patch.Path, volume, mount)
			continue
		}
		if want := path.Join(mount.MountPath, volume.Secret.Items[0].Path); env.Name != keyfile.Env || env.Value != want {
			t.Errorf("%s: %s is %q, and the keys are in %s", patch.Path, env.Name, env.Value, want)
		}
		if !mount.ReadOnly || volume.Secret.DefaultMode == nil || *volume.Secret.DefaultMode != 0o440 {
			t.Errorf("%s: read-only %t, mode %v", patch.Path, mount.ReadOnly, volume.Secret.DefaultMode)
		}
		user := base.Spec.Template.Spec.SecurityContext
		if s := spec.SecurityContext; s == nil || s.FSGroup == nil || user.RunAsGroup == nil || *s.FSGroup != *user.RunAsGroup {
			t.Errorf("%s: the group of the keys is %+v, and the program's %v", patch.Path, spec.SecurityContext, user.RunAsGroup)
		}
		if slices.ContainsFunc(base.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume.Name }) {
			t.Errorf("%s needs keys without being asked", d.Name)
		}
		text, err := os.ReadFile(filepath.Join(dir, "kustomization.yml"))
		if want := "create secret generic " + volume.Secret.SecretName + " --from-file=" + volume.Secret.Items[0].Key + "="; err != nil || !strings.Contains(string(text), want) {
			t.Errorf("the instructions do not say %q: %v", want, err)
		}
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Log("without kubectl it is not tried whether kustomize takes it")
		return
	}
	whole := t.TempDir()
	if err := os.CopyFS(whole, os.DirFS(filepath.Join(root, manifests))); err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(whole, "kustomization.yml")
	b, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(main, append(b, "components: ["+kubernetesKeyring+"]\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(kubectl, "kustomize", whole).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v\n%s", err, out)
	}
	if objects, err := parse(string(out)); err != nil || len(objects) != len(cluster(t)) || strings.Count(string(out), keyfile.Env) != 2 {
		t.Errorf("kubectl kustomize makes %d objects, with the keys in %d, want 2: %v", len(objects), strings.Count(string(out), keyfile.Env), err)
	}
}

func TestTheUnitsTakeTheKeyring(t *testing.T) {
	u := unit(t, systemdKeyring)
	id, file, _ := strings.Cut(value(u, "LoadCredential"), ":")
	if len(u) != 2 || file != keyFile || value(u, "Environment") != keyfile.Env+"=%d/"+id {
		t.Errorf("it says %+v", u)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	verify := func(name, text string) string {
		dir := t.TempDir()
		b, err := os.ReadFile(filepath.Join(root, "deploy", "systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		whole := string(b)
		for _, p := range []string{"worker", "distpool"} { // it wants the programs to be there
			whole = strings.ReplaceAll(whole, "/usr/local/bin/"+p+" ", program(t, p)+" ")
		}
		for file, text := range map[string]string{name: whole, name + ".d/" + systemdKeyring: text} {
			file = filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(analyze, "verify", "--man=no", strings.Replace(name, "@.", "@1.", 1))
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return err.Error() + "\n" + string(out)
		}
		return string(out)
	}
	b, err := os.ReadFile(filepath.Join(root, "deploy", "systemd", systemdKeyring))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range units {
		if said := verify(name, string(b)); said != "" {
			t.Errorf("%s: systemd-analyze verify: %s", name, said)
		}
		if verify(name, string(b)+"RestartSec=soon\n") == "" {
			t.Errorf("%s: systemd-analyze does not read the drop-in", name)
		}
	}
}
