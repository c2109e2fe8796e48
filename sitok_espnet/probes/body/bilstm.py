"""Bidirectional LSTM, DASB's first architecture for speech recognition."""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sitok_espnet.probes.body.abs_body import AbsBody


class BiLSTM(AbsBody):
    """(B, T, D) -> (B, T, 2 hidden_size); the backward direction begins at the end of each utterance.

    Args:
        input_size: D (given by the model).
        hidden_size: of each direction; DASB has 1,024.
        num_layers: DASB has 2.
        dropout: between layers and of the result.
    """

    pools = False

    def __init__(self, input_size: int, hidden_size: int = 1024, num_layers: int = 2, dropout: float = 0.2):
        super().__init__()
        between = dropout if num_layers > 1 else 0.0
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True, dropout=between, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def output_size(self) -> int:
        return 2 * self.lstm.hidden_size

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.size(1))
        return self.dropout(out)
