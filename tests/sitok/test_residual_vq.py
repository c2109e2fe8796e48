"""Residual VQ: the chain against a loop, against ema_vq, several processes, and what the CTC decoder reads of it."""

import copy

import pytest
import torch
import torch.multiprocessing as mp

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.ctc.llama import LlamaCTC
from sitok_espnet.sitok.quantizer.ema_vq import EMAVectorQuantizer
from sitok_espnet.sitok.quantizer.residual_vq import ResidualVectorQuantizer

SIZES = [12, 8, 5]


def feed(quantizer, rounds, seed=0, batch=(4, 10, 6)):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(rounds):
        quantizer(torch.randn(batch, generator=generator), torch.full(batch[:1], batch[1]))
        quantizer.update_codebook()
    return quantizer


def ready(seed=0, **options):
    torch.manual_seed(seed)
    return feed(ResidualVectorQuantizer(6, len(SIZES), SIZES, codebook_dim=3, **options), 8)


def test_one_codebook_is_ema_vq():
    torch.manual_seed(0)
    chain = ResidualVectorQuantizer(6, 1, 8, codebook_dim=3)
    plain = EMAVectorQuantizer(6, 8, codebook_dim=3)
    plain.load_state_dict(
        {key.replace("codebooks.0.", "codebook."): value for key, value in chain.state_dict().items()}
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):  # initialisation, updates and revivals
        x, lengths = torch.randn(2, 9, 6, generator=generator), torch.tensor([9, 6])
        one, two = chain(x, lengths), plain(x, lengths)
        assert torch.equal(one.quantized, two.quantized) and torch.equal(one.loss, two.loss)
        assert torch.equal(one.codes, two.codes) and one.stats == two.stats
        chain.update_codebook()
        plain.update_codebook()
    assert torch.equal(chain.codebooks[0].entries, plain.codebook.entries) and chain.codebooks[0].num_updates > 2


@pytest.mark.parametrize("l2_normalize", [False, True])
def test_chain_against_a_loop(l2_normalize):
    quantizer = ready(l2_normalize=l2_normalize, commitment=0.5).eval()
    assert quantizer.codebook_sizes == (12, 8, 5) and quantizer.codebook_dim == 3
    x, lengths = torch.randn(2, 7, 6), torch.tensor([7, 3])
    out = quantizer(x, lengths)
    losses = [[], [], []]
    for row, length in enumerate(lengths.tolist()):
        for t in range(length):
            rest = quantizer.project_in(x[row, t])
            rest = rest / rest.norm() if l2_normalize else rest
            total = torch.zeros(3)
            for number, codebook in enumerate(quantizer.codebooks):
                distances = [(rest - entry).square().sum().item() for entry in codebook.entries]
                best = distances.index(min(distances))
                assert out.codes[row, t, number] == best
                torch.testing.assert_close(out.quantized_per_codebook[row, t, number], codebook.entries[best])
                losses[number].append(min(distances) / 3)
                rest, total = rest - codebook.entries[best], total + codebook.entries[best]
            torch.testing.assert_close(out.quantized[row, t], quantizer.project_out(total))
    expected = 0.5 * sum(sum(part) / len(part) for part in losses) / 3
    assert out.loss.item() == pytest.approx(expected, rel=1e-5)
    for number, size in enumerate(SIZES):
        valid = torch.cat((out.codes[0, :7, number], out.codes[1, :3, number]))
        assert out.stats[f"used_codes_{number}"] == len(valid.unique())
        assert 1 <= out.stats[f"perplexity_{number}"] <= size


def test_codebooks_are_initialised_one_after_the_other_and_the_rest_passes():
    torch.manual_seed(0)
    quantizer = ResidualVectorQuantizer(6, 3, SIZES, codebook_dim=3)
    history = []
    for _ in range(5):
        x = torch.randn(1, 8, 6)
        out = quantizer(x, torch.tensor([8]))
        history.append(tuple(codebook.initialised for codebook in quantizer.codebooks))
        if not all(history[-1]):  # nothing is quantized yet: the decoder reads the latents
            latents = quantizer.project_in(x)
            torch.testing.assert_close(out.quantized, quantizer.project_out(latents))
            torch.testing.assert_close(out.quantized_per_codebook, latents[:, :, None])
            assert out.loss == 0 and not out.stats and out.codes.shape == (1, 8, 3)
        if len(history) == 3:  # the second codebook is drawn from what the first leaves over
            first, latents = copy.deepcopy(quantizer.codebooks[0]), latents[0].detach()
            residuals = latents - first.entries[first.search(latents)]
        quantizer.update_codebook()
        if len(history) == 3:
            assert all((residuals - entry).abs().sum(1).min() < 1e-6 for entry in quantizer.codebooks[1].entries)
        if len(history) == 4:  # mean count of the one update that it pooled, not of those it waited for
            assert torch.equal(quantizer.codebooks[2].ema_count, torch.full((5,), 8 / 5))
    # 12 entries need two batches of 8 latents, 8 and 5 entries one each.
    assert history == [(False,) * 3, (False,) * 3, (True, False, False), (True, True, False), (True,) * 3]


def test_every_codebook_lowers_the_distance():
    quantizer = feed(ready(), 60).eval()
    x = torch.randn(4, 100, 6)
    latents, parts = quantizer.project_in(x), quantizer.decode_per_codebook(quantizer.encode(x))
    errors = [(latents - parts[:, :, :n].sum(2)).square().mean().item() for n in range(4)]
    assert errors[0] > 1.2 * errors[1] > 1.2 * 1.2 * errors[2] and errors[2] > errors[3]


def test_gradient_reaches_the_latents_once_and_commitment_pulls_them():
    quantizer = ready().eval()
    x = torch.randn(2, 4, 6, requires_grad=True)
    out = quantizer(x, torch.tensor([4, 4]))
    weights = torch.randn(6)
    gradient = torch.autograd.grad((out.quantized * weights).sum(), x, retain_graph=True)[0]
    expected = torch.autograd.grad((quantizer.project_out(quantizer.project_in(x)) * weights).sum(), x)[0]
    torch.testing.assert_close(gradient, expected)
    for number in range(3):  # every part alone, too
        part = torch.autograd.grad(out.quantized_per_codebook[:, :, number].sum(), x, retain_graph=True)[0]
        torch.testing.assert_close(part, torch.autograd.grad(quantizer.project_in(x).sum(), x)[0])
    latents = quantizer.project_in(x)
    fixed = quantizer.decode_per_codebook(out.codes)
    residuals = [latents - fixed[:, :, : n + 1].sum(2) for n in range(3)]
    by_hand = 0.25 * sum(residual.square().mean() for residual in residuals) / 3
    torch.testing.assert_close(torch.autograd.grad(out.loss, x)[0], torch.autograd.grad(by_hand, x)[0])


def test_accumulated_batches_are_one_update_of_every_codebook():
    one, two = ready(), ready()
    x = torch.randn(6, 10, 6)
    before = one.codebooks[1].entries.clone()
    one(x, torch.full((6,), 10))
    for part in (x[:2], x[2:]):
        two(part, torch.full((len(part),), 10))
    for quantizer in (one, two):
        quantizer.update_codebook()
    for first, second in zip(one.codebooks, two.codebooks, strict=True):
        assert first.num_updates == second.num_updates
        torch.testing.assert_close(first.entries, second.entries)
    assert not torch.equal(before, one.codebooks[1].entries)


def test_near_ties_are_judged_at_the_first_differing_codebook():
    quantizer = ready().eval()
    latent = torch.randn(6)
    codes = quantizer.encode(latent[None, None])[0, 0]
    other = codes.clone()
    other[1] = (codes[1] + 1) % 8
    assert not quantizer.is_near_tie(latent, codes, other)
    residual = quantizer.project_in(latent) - quantizer.codebooks[0].entries[codes[0]]
    direction = torch.nn.functional.normalize(torch.randn(3), dim=0)
    with torch.no_grad():  # two entries equally far from the residual, and then not quite
        quantizer.codebooks[1].entries[codes[1]] = residual + 0.1 * direction
        quantizer.codebooks[1].entries[other[1]] = residual - 0.1 * (1 + 2e-5) * direction
        assert quantizer.is_near_tie(latent, codes, other)
        later = other.clone()
        later[2] = (codes[2] + 1) % 5  # what follows the tie does not matter
        assert quantizer.is_near_tie(latent, codes, later)
        quantizer.codebooks[1].entries[other[1]] = residual - 0.1 * (1 + 2e-4) * direction
        assert not quantizer.is_near_tie(latent, codes, other)
    first = codes.clone()
    first[0] = (codes[0] + 1) % 12
    assert not quantizer.is_near_tie(latent, codes, first)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_codebooks": 2, "codebook_size": [8, 8, 8]}, "num_codebooks is 2, but codebook_size names 3"),
        ({"num_codebooks": 0}, "num_codebooks is 0"),
        ({"num_codebooks": 2, "codebook_size": [8, 1]}, "codebook_size must be at least 2, got 1"),
    ],
)
def test_bad_sizes(options, message):
    with pytest.raises(SiTokError, match=message):
        ResidualVectorQuantizer(6, **options)


# ---- several processes ----


def worker(rank, world, port, directory):
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    rows = slice(0, 3) if rank == 0 else slice(3, 8)  # unequal shares
    torch.save(updated(rows), f"{directory}/{rank}.pt")
    torch.distributed.destroy_process_group()


def updated(rows):
    """State and codes after 8 updates with some rows of every batch."""
    torch.manual_seed(5)
    quantizer = ResidualVectorQuantizer(6, 2, [16, 12], codebook_dim=3)
    generator, codes = torch.Generator().manual_seed(11), []
    for _ in range(8):
        x = torch.randn(8, 5, 6, generator=generator)[rows]
        codes.append(quantizer(x, torch.full((x.size(0),), 5)).codes)
        quantizer.update_codebook()
    return quantizer.state_dict(), codes


def test_two_processes_make_the_codebooks_of_one(tmp_path, free_port):
    alone, codes = updated(slice(None))
    mp.spawn(worker, args=(2, free_port, tmp_path), nprocs=2)
    (first, codes_first), (second, codes_second) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["codebooks.1.num_updates"] > 2
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value)
    for together, a, b in zip(codes, codes_first, codes_second, strict=True):
        assert torch.equal(together, torch.cat((a, b)))


# ---- what the CTC decoder reads ----


def ctc(codebooks, num_codebooks=3, dim=3):
    torch.manual_seed(2)
    return LlamaCTC(
        6, num_codebooks, dim, 5, num_layers=1, intermediate_size=8, num_heads=1, codebooks=codebooks
    ).eval()


@pytest.mark.parametrize("codebooks, read", [("all", {0, 1, 2}), ("first", {0}), ([2], {2}), ([0, 2], {0, 2})])
def test_ctc_reads_what_it_says(codebooks, read):
    quantizer, branch = ready().eval(), ctc(codebooks)
    codes = torch.stack([torch.randint(size, (1, 5)) for size in SIZES], dim=2)

    def logits(codes):
        return branch(quantizer.decode_codes(codes), quantizer.decode_per_codebook(codes))

    parts = quantizer.decode_per_codebook(codes)[:, :, sorted(read)].sum(2)
    expected = branch.output(branch.stack(branch.input(parts)))
    torch.testing.assert_close(logits(codes), expected)
    for number, size in enumerate(SIZES):
        changed = codes.clone()
        changed[..., number] = (codes[..., number] + 1) % size
        assert torch.equal(logits(changed), logits(codes)) == (number not in read)


@pytest.mark.parametrize("codebooks", ["all", "first", [1, 2]])
def test_ctc_gradient_of_the_sum_is_carried_once(codebooks):
    """As if the sum had one straight-through estimator, however many codebooks it has."""
    quantizer, branch = ready().eval(), ctc(codebooks)
    x = torch.randn(1, 5, 6, requires_grad=True)
    out = quantizer(x, torch.tensor([5]))
    gradient = torch.autograd.grad(branch(out.quantized, out.quantized_per_codebook).square().sum(), x)[0]
    latents = quantizer.project_in(x)
    total = out.quantized_per_codebook[:, :, branch.selected].sum(2).detach()
    once = total + latents - latents.detach()
    expected = torch.autograd.grad(branch.output(branch.stack(branch.input(once))).square().sum(), x)[0]
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().max() > 1e-4


@pytest.mark.parametrize("codebooks", ["all", "first", [1, 2]])
@pytest.mark.parametrize("updates", [0, 1, 2, 3])
def test_ctc_reads_the_latents_until_all_codebooks_are_there(codebooks, updates):
    """Any selection sees them, in value and with their gradient once; after that it is `once` of the test above."""
    quantizer, branch = feed(ResidualVectorQuantizer(6, 3, [8] * 3, codebook_dim=3), updates), ctc(codebooks)
    assert [codebook.initialised for codebook in quantizer.codebooks] == [n < updates for n in range(3)]
    x = torch.randn(1, 8, 6, requires_grad=True)
    out = quantizer(x, torch.tensor([8]))
    latents = quantizer.project_in(x)
    total = latents
    if updates == 3:
        parts = quantizer.decode_per_codebook(out.codes)[:, :, branch.selected].sum(2)
        total = parts + latents - latents.detach()
    expected = branch.output(branch.stack(branch.input(total)))
    logits = branch(out.quantized, out.quantized_per_codebook)
    torch.testing.assert_close(logits, expected)
    wanted = torch.autograd.grad(expected.square().sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(logits.square().sum(), x)[0], wanted)
    assert wanted.abs().max() > 1e-4


@pytest.mark.parametrize("codebooks", ["last", "", [], [3], [-1], [0, 0], [True], [0.0], 1, ["0"], None, [[0]]])
def test_bad_selections_are_errors(codebooks):
    with pytest.raises(SiTokError, match="ctc_conf codebooks must be all, first, or a list.*from 0 to 2"):
        ctc(codebooks)


def test_one_codebook_or_none_leaves_nothing_to_select():
    for number in (0, 1):
        branch = ctc("first", number)
        assert branch.input is None
        quantized = torch.randn(1, 4, 6)
        torch.testing.assert_close(branch(quantized, torch.randn(1, 4, 1, 3)), branch.output(branch.stack(quantized)))
    with pytest.raises(SiTokError, match="from 0 to 0"):
        ctc([1], 1)


def test_reloading_a_half_initialised_chain_goes_on():
    """Training is resumed between the codebooks: the ready ones stay, the others pool anew."""
    torch.manual_seed(0)
    quantizer = feed(ResidualVectorQuantizer(6, 2, [8, 8], codebook_dim=3), 1)
    state = copy.deepcopy(quantizer.state_dict())
    resumed = ResidualVectorQuantizer(6, 2, [8, 8], codebook_dim=3)
    resumed.load_state_dict(state)
    assert [codebook.initialised for codebook in resumed.codebooks] == [True, False]
    feed(resumed, 2, seed=4)
    assert all(codebook.initialised for codebook in resumed.codebooks)
