"use strict";
// Sorting by a column; rows without a number stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const body = table.tBodies[0];
      const key = (row) => {
        const text = row.cells[column] ? row.cells[column].dataset.sort : "";
        return text === undefined || text === "" ? null : Number(text);
      };
      [...body.rows]
        .sort((one, two) => {
          const [a, b] = [key(one), key(two)];
          if (a === null || b === null) return (a === null) - (b === null);
          return rising ? a - b : b - a;
        })
        .forEach((row) => body.append(row));
    });
  });
}
// One player at a time, and a line in its spectrogram at the place that is heard.
const players = [...document.querySelectorAll("audio")];
for (const player of players) {
  const line = player.closest(".take").querySelector(".head");
  const seconds = Number(line.dataset.seconds);
  const move = () => {
    line.style.left = `${Math.min(100, (player.currentTime / seconds) * 100)}%`;
    line.style.opacity = player.currentTime > 0 && !player.ended ? 1 : 0;
    if (!player.paused) requestAnimationFrame(move);
  };
  player.addEventListener("play", () => {
    players.forEach((other) => other !== player && other.pause());
    move();
  });
  for (const event of ["pause", "seeked", "ended"]) player.addEventListener(event, move);
}
