package progress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bar is a bar as tqdm writes it: at a position below others it goes down, writes, and comes up again.
func bar(pos int, desc string, k, n int, left, rate string) string {
	if desc != "" {
		desc += ": "
	}
	full := 10 * k / n
	return strings.Repeat("\n", pos) + fmt.Sprintf("\r%s%3d%%|%s%s| %d/%d [00:30<%s,  %s]", desc, 100*k/n,
		strings.Repeat("█", full), strings.Repeat(" ", 10-full), k, n, left, rate) + strings.Repeat("\x1b[A", pos)
}

const keras2 = "Epoch 2/10\n\n  1/390 [..............................] - ETA: 1:02 - loss: 2.3\b\b\b\b\b\b\b\b\r" +
	"390/390 [==============================] - 13s 33ms/step - loss: 1.9\nEpoch 3/10\n" +
	"\r117/390 [========>.....................] - ETA: 9s - loss: 1.8201 - accuracy: 0.3312"

const keras3 = "\x1b[1mEpoch 3/10\x1b[0m\r\n\r\x1b[1m  1/390\x1b[0m \x1b[37m━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[1m12:31\x1b[0m 2s/step - loss: 2.4" +
	"\r\x1b[1m117/390\x1b[0m \x1b[32m━━━━━━\x1b[0m\x1b[37m━━━━━━━━━━━━━━\x1b[0m \x1b[1m9s\x1b[0m 33ms/step - accuracy: 0.31 - loss: 1.81"

const trainer = "***** Running training *****\n  Num examples = 8,000\n  Num Epochs = 3\n  Total optimization steps = 1,000\n" +
	"\r  0%|          | 0/1000 [00:00<?, ?it/s]\r 12%|█▏        | 119/1000 [00:30<03:42,  3.95it/s]" +
	"\r 12%|█▏        | 120/1000 [00:30<03:40,  4.00it/s]\n" +
	"                                                \n{'loss': 2.1034, 'learning_rate': 4.4e-05, 'epoch': 0.36}\n"

const mnist = "Train Epoch: 3 [12160/60000 (20%)]\tLoss: 0.201\nTrain Epoch: 3 [12800/60000 (21%)]\tLoss: 0.199340\n"
const imagenet = "Epoch: [3][ 100/5005]\tTime  0.512 ( 0.600)\tData  0.001\tLoss 4.2\nEpoch: [3][1001/5005]\tTime  0.5"
const mm = "2026/11/30 12:00:01 - mmengine - INFO - Epoch(train)  [3][ 50/200]  lr: 1.0e-02  eta: 3:02:03  time: 0.31"
const yolo = "\r      3/100      2.51G      1.203      0.951      1.112         45        640:  50%|█████     | 195/390 [00:30<00:30,  6.4it/s]"
const richEpoch = "\r\x1b[2KEpoch 3/9  \x1b[35m━━━━━━━━━━━━\x1b[0m\x1b[90m╺━━━━━━━\x1b[0m 30/100 \x1b[2m0:00:02 • 0:00:07\x1b[0m 10.32it/s v_num: 0.000"

// TestPrograms are the outputs of programs that people run.
func TestPrograms(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		percent float64
		left    time.Duration // below 0: not said
		rate    float64
		unit    string
		stage   string
	}{
		"tqdm":          {text: bar(0, "", 24, 40, "00:21", "1.33s/it"), percent: 60, left: 21 * time.Second, rate: 1 / 1.33, unit: "it"},
		"tqdm, long":    {text: bar(0, "train", 24, 40, "49:02:03", "4.00it/s"), percent: 60, left: 49*time.Hour + 123*time.Second, rate: 4, unit: "it"},
		"tqdm, begins":  {text: bar(0, "", 0, 40, "?", "?it/s"), left: -1},
		"tqdm, printed": {text: bar(0, "", 24, 40, "00:21", "4.00it/s") + "\nloss 0.31\nloss 0.30\n", percent: 60, left: 21 * time.Second, rate: 4, unit: "it"},
		"nested, the outer one is further up": {text: bar(0, "epochs", 3, 10, "10:00", "90.0s/it") + bar(1, "batches", 5, 20, "00:02", "9.00it/s"),
			percent: 32.5, left: -1, rate: 9, unit: "it"},
		"nested, the outer one came last": {text: bar(0, "epochs", 3, 10, "10:00", "90.0s/it") + bar(1, "batches", 20, 20, "00:00", "9.00it/s") +
			bar(0, "epochs", 4, 10, "09:00", "90.0s/it"), percent: 40, left: 9 * time.Minute, rate: 1.0 / 90, unit: "it"},
		"three nested": {text: bar(0, "", 1, 2, "?", "?it/s") + bar(1, "", 1, 2, "?", "?it/s") + bar(2, "", 1, 2, "?", "?it/s"),
			percent: 87.5, left: -1},
		"an evaluation in between": {text: bar(0, "", 500, 1000, "03:40", "4.00it/s") + bar(1, "Evaluating", 5, 10, "00:02", "9.00it/s"),
			percent: 50, left: 220 * time.Second, rate: 9, unit: "it"},
		"a loop that is run again": {text: bar(0, "", 20, 20, "00:00", "9.00it/s") + "\n" + bar(0, "", 5, 20, "00:02", "9.00it/s"),
			percent: 25, left: 2 * time.Second, rate: 9, unit: "it", stage: "this loop"},
		"epochs by print, batches by tqdm": {text: "Epoch 3/10\n" + bar(0, "", 5, 20, "00:02", "9.00it/s"), percent: 22.5, left: -1, rate: 9, unit: "it"},
		"epochs told at their end":         {text: bar(0, "", 20, 20, "00:00", "9.00it/s") + "\nEpoch 3/10 - loss 0.31\n", percent: 30, left: -1},
		"epochs in the description":        {text: bar(0, "Epoch 3/10", 5, 20, "00:02", "9.00it/s"), percent: 22.5, left: -1, rate: 9, unit: "it"},
		"epochs from 0": {text: "Epoch 0/24\ntrain Loss: 0.5\nEpoch 1/24\ntrain Loss: 0.5 Acc: 0.7\nEpoch 5/24\n----------\n",
			percent: 20, left: -1},
		"Keras":   {text: keras2, percent: 23, left: -1},
		"Keras 3": {text: keras3, percent: 23, left: -1, rate: 1000.0 / 33, unit: "step"},
		"Lightning": {text: bar(0, "Epoch 2", 20, 20, "00:00", "9.00it/s, loss=0.4") +
			bar(0, "Epoch 3", 20, 100, "00:20", "4.00it/s, loss=0.1, v_num=0"), percent: 20, left: 20 * time.Second,
			rate: 4, unit: "it", stage: "Epoch 3"},
		"Lightning, Rich":            {text: richEpoch, percent: 33, left: -1, rate: 10.32, unit: "it"},
		"Rich":                       {text: "\rWorking... ━━━━━━━━╺━━━━ 37% 0:00:12", percent: 37, left: 12 * time.Second},
		"HF Trainer":                 {text: trainer, percent: 12, left: 220 * time.Second, rate: 4, unit: "it"},
		"PyTorch, MNIST":             {text: mnist, percent: 100 * 12800.0 / 60000, left: -1, stage: "Epoch 3"},
		"PyTorch, ImageNet":          {text: imagenet, percent: 20, left: -1, stage: "Epoch 3"},
		"PyTorch, a tutorial":        {text: "Epoch [2/10], Step [390/390], Loss: 0.4\nEpoch [3/10], Step [117/390], Loss: 0.3214\n", percent: 23, left: -1},
		"OpenMMLab":                  {text: mm, percent: 25, left: 3*time.Hour + 123*time.Second, stage: "Epoch(train) 3"},
		"YOLO":                       {text: yolo, percent: 2.5, left: -1, rate: 6.4, unit: "it"},
		"a download":                 {text: bar(0, "Downloading model.safetensors", 45, 100, "00:12", "4.50MB/s"), percent: 45, left: 12 * time.Second, rate: 4.5e6, unit: "B", stage: "Downloading model.safetensors"},
		"bytes":                      {text: "\r 45%|████▌     | 45.2M/100M [00:10<00:12, 4.50MB/s]", percent: 45.2, left: 12 * time.Second, rate: 4.5e6, unit: "B", stage: "a transfer"},
		"steps":                      {text: "INFO:root:step 120/1000 loss=0.2 (12.5 it/s)\n", percent: 12, left: -1, rate: 12.5, unit: "it"},
		"of":                         {text: "[2026-11-30 12:00:01] Processed 250 of 1000 files\n", percent: 25, left: -1},
		"iterations":                 {text: "2026-11-30T12:00:01Z iteration: 250 / 1000\n", percent: 25, left: -1},
		"folds":                      {text: "Fold 2/5\nEpoch 3/10\n117/390 [========>....] - ETA: 9s\n", percent: 24.6, left: -1},
		"ninja":                      {text: "[119/1000] Building CXX object a.o\r[120/1000] Linking b\n", percent: 12, left: -1},
		"make":                       {text: "[ 11%] Building CXX object a.o\n[ 12%] Building CXX object b.o\n", percent: 12, left: -1},
		"percent":                    {text: "progress: 37%\n", percent: 37, left: -1},
		"percent done":               {text: "12:00:01 37.5% done, ETA 1:02:03\n", percent: 37.5, left: 3723 * time.Second},
		"a line without an end":      {text: "0%\r10%\r37%", percent: 37, left: -1},
		"a progress bar of a script": {text: "epoch 2: 100%, loss 1.87\nepoch 3:  10%\repoch 3:  20%", percent: 20, left: -1, stage: "epoch 3"},
	} {
		t.Run(name, func(t *testing.T) {
			f, seen := Read([]byte(c.text), true)
			require.Equal(t, Some, seen)
			require.InDelta(t, c.percent, f.Percent, 0.11, "%+v", f)
			require.InDelta(t, c.rate, f.Rate, 0.01, "%+v", f)
			require.Equal(t, c.unit, f.Unit)
			require.Equal(t, c.stage, f.Stage)
			if c.left < 0 {
				require.Negative(t, f.Left)
			} else {
				require.Equal(t, c.left, f.Left)
			}
		})
	}
}

// TestNoise says nothing.
func TestNoise(t *testing.T) {
	for _, text := range []string{
		"", "\n\n", "loading /data/images: 48210 files\nmodel has 86.6 M parameters\n",
		"2026/11/30 12:00:01 started\n2026/12/01 12:00:01 goes on\n", "11/30 12:00:01 a\n11/30 12:00:02 b\n",
		"10/11 08:00 a\n11/11 08:00 b\n", "30/11/2026\n", "see /data/1/2 and ./out/step/3/10\n", "https://x/epoch/3/10\n",
		"10.0.0.0/8 and 192.168.1.1/24\n", "1/2\n", "1/2 cup\n3/4 cup\n", "val accuracy: 93.2%\nval accuracy: 94.1%\n",
		"accuracy 37% top5 76.5%\n", "GPU 87% CPU 37%\n", "/dev/sda1 45% full\n", "rank 0/8\nrank 1/8\n", "worker 1/4 started\n",
		"attempt 1/3 failed\nattempt 2/3 failed\n", "retrying 1/3\n", "layer3/10\n", "score 3/10, 4/10\n", "24/7 support\n",
		"batch_size 32/64\n", "step 3.5/10\n", "epoch 12/10\n", "step 1/10/2026\n", "step 120/1000x\n", "python3.11/site\n",
		"120it [00:30, 4.00it/s]\n", "Loading checkpoint shards: 100%|██████████| 2/2 [00:03<00:00]\ntraining begins\n",
		"a 7%|b\n", "%|", "9/", "/9", "1 of", "eta", "37 %", "epoch 3", "[3/10", "50% 50%", "━", "━━ x", "5/", "5/0 [>", "1/1\n2/2\n",
		strings.Repeat("x", 5000) + "37% done", "epoch 3/10"[:7],
	} {
		f, seen := Read([]byte(text), true)
		assert.Equal(t, Nothing, seen, "%q: %+v", text, f)
	}
}

// TestACutBeginning: of what begins in the middle of a line, that line says nothing.
func TestACutBeginning(t *testing.T) {
	_, seen := Read([]byte("2/100 [====>....] - ETA: 9s"), false)
	require.Equal(t, Nothing, seen)
	f, seen := Read([]byte("2/100 [====>....] - ETA: 9s\r52/100 [====>....] - ETA: 9s"), false)
	require.Equal(t, Some, seen)
	require.InDelta(t, 52, f.Percent, 0.1)
}

// TestOnlyTheInner: where only a bar below another one is seen, it isn't taken for the whole.
func TestOnlyTheInner(t *testing.T) {
	_, seen := Read([]byte(bar(1, "batches", 5, 20, "00:02", "9.00it/s")), false)
	require.Equal(t, Inner, seen)
}

// FuzzRead: whatever is printed, a percentage is one, and what is cut at its beginning is read, too.
func FuzzRead(f *testing.F) {
	for _, s := range []string{keras2, keras3, trainer, mnist, imagenet, mm, yolo, richEpoch, bar(2, "x", 3, 10, "1:02", "9it/s"),
		"1 day, 2:03:04", "eta 99999999 days, 1:02", "İeta 9s step 1/2", "\x1b[99999999A\x1b[", "[1/2]\n[2/2]", "Fold 0/5\nFold 1/5"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		x, seen := Read(b, whole)
		switch {
		case seen != Some:
			require.Equal(t, Found{}, x)
		case !(x.Percent >= 0 && x.Percent <= 100) || !(x.Rate >= 0) || x.Left < -1 || len(x.Stage) > 120 || len(x.Unit) > 30:
			t.Fatalf("%+v of %q", x, b)
		}
		again, same := Read(append([]byte("cut off\n"), b...), false)
		if whole && (same != seen || again != x) {
			t.Fatalf("%+v and %+v of %q", x, again, b)
		}
	})
}

// BenchmarkRead is the cost of a look: the tail is 16 KiB.
func BenchmarkRead(b *testing.B) {
	tail := []byte(strings.Repeat(trainer, 16<<10/len(trainer)+1)[:16<<10])
	b.SetBytes(int64(len(tail)))
	for b.Loop() {
		Read(tail, false)
	}
}
