package uitest

import (
	"context"

	"berth/backend/api"
)

// WithProfiles says with which profiles an instance of a fleet was set up.
func WithProfiles(list []api.Instance, name string, profiles ...string) []api.Instance {
	for i := range list {
		if list[i].Name == name {
			list[i].Profiles = profiles
		}
	}
	return list
}

// InstanceInventory is what is installed on the instances of the test's workspace.
func (w *Workspace) InstanceInventory(_ context.Context, name string) (api.Inventory, error) {
	w.call("inventory %s", name)
	in, err := w.real.Instance(asAda(), name)
	if err != nil {
		return api.Inventory{}, err
	}
	if in.State != api.StateRunning {
		return api.Inventory{}, api.Errorf(api.CodeUnreachable, "%s is %s: its agent can't be reached", in.Name,
			in.State).WithHint("berth start %s", in.Name)
	}
	inv := api.Inventory{Instance: in.Name, System: "Ubuntu 24.04.1 LTS", Release: "ubuntu-24.04",
		Kernel: "6.8.0-1021-aws", Arch: "amd64",
		Components: []api.Component{
			{Name: "nvidia-driver", Title: "NVIDIA driver", Version: "570.86.15", Note: "open kernel module"},
			{Name: "cuda", Title: "CUDA toolkit", Version: "12.4.1", Path: "/usr/local/cuda-12.4"},
			{Name: "docker", Title: "Docker", Version: "27.4.1", Path: "/usr/bin/docker"},
			{Name: "python", Title: "Python", Version: "3.12.3", Path: "/usr/bin/python3"},
			{Name: "conda", Title: "conda", Version: "24.11.3", Path: "/home/ubuntu/miniforge3"},
			{Name: "git", Title: "git", Version: "2.43.0", Path: "/usr/bin/git"}},
		Conda: []api.Conda{{Name: "base", Path: "/home/ubuntu/miniforge3", Python: "3.12.8", Packages: map[string]string{}},
			{Name: "pytorch", Path: "/home/ubuntu/miniforge3/envs/pytorch", Python: "3.11.11",
				Packages: map[string]string{"torch": "2.5.1", "torchvision": "0.20.1", "numpy": "2.1.3", "pandas": "2.2.3"}}},
		Python: []api.Conda{{Name: "code/資料科學-プロジェクト/.venv", Path: "/home/ubuntu/code/資料科學-プロジェクト/.venv",
			Python: "3.12.3", Packages: map[string]string{"transformers": "4.48.0"}}},
		Kernels: []api.KernelSpec{{Name: "python3", Title: "Python 3 (ipykernel)", Language: "python"},
			{Name: "pytorch", Title: "\x1b[31mPyTorch\u202e 2.5.1", Language: "python"}}}
	if in.Name == "train-1" {
		inv.Components[1].Version, inv.Components[5].Version = "12.6.3", "2.43.0"
		inv.Components = append(inv.Components, api.Component{Name: "mpi", Title: "MPI", Version: "4.1.6"})
		inv.Conda[1].Packages = map[string]string{"torch": "2.6.0", "torchvision": "0.21.0", "numpy": "2.1.3"}
		inv.Errors = []string{"gcloud: /usr/bin/gcloud --version: it did not end in time"}
	}
	return inv, nil
}
