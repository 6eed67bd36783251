// Draws each chart when it comes near the window, in the colours of the reader's light or dark scheme.
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const palette = JSON.parse(document.getElementById("data-palette").textContent);  // light -> dark
  const config = { displaylogo: false, displayModeBar: false, responsive: true };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const axis = (settings) => ({
    gridcolor: colour("--grid"), zerolinecolor: colour("--grid"), linecolor: colour("--rule"),
    tickfont: { size: 11 }, automargin: true, fixedrange: false, ...settings,
    ...(settings.title ? { title: { ...settings.title, font: { size: 11 } } } : {}),
  });

  const styled = (layout) => ({
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colour("--sans"), size: 12, color: colour("--soft") },
    margin: { l: 44, r: 8, t: layout.showlegend ? 44 : 20, b: 40 },
    xaxis: axis({ ...layout.xaxis, showgrid: false, ticks: "outside", ticklen: 4, tickcolor: colour("--rule") }),
    yaxis: axis({ ...layout.yaxis, zeroline: false }),
    hovermode: "x unified",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",  // on a touch screen, dragging scrolls the page
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--rule"), font: { color: colour("--ink") } },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", traceorder: "normal", font: { size: 11 } },
  });

  // Unpacks Plotly, once. The policy of the page allows a script of exactly this text and no other.
  let loading = null;
  const library = () => loading ??= (async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  })();

  // The element after each plot holds its figure as JSON, with the series in the colours of the light scheme.
  const draw = (plot, size = {}) => {
    const swap = (key, value) => (dark.matches && typeof value === "string" && palette[value]) || value;
    const { data, layout } = JSON.parse(plot.nextElementSibling.textContent, swap);
    Plotly.react(plot, data, { ...styled(layout), ...size }, config);
    plot.dataset.drawn = "yes";
  };

  const failed = (plot) => {
    plot.textContent = "This browser is too old to draw charts.";
    plot.classList.add("missing");
  };

  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) { observer.unobserve(target); library().then(() => draw(target), () => failed(target)); }
    }
  }, { rootMargin: "600px" });
  document.querySelectorAll(".plot").forEach((plot) => observer.observe(plot));

  // The colours are part of the figures, so a change of scheme draws them again.
  dark.addEventListener("change", () => document.querySelectorAll(".plot[data-drawn]").forEach((plot) => draw(plot)));
  // Printing does not wait, so Plotly is unpacked as soon as the page has nothing else to do.
  addEventListener("load", () => setTimeout(() => library().catch(() => {}), 300));
  addEventListener("beforeprint", () => {
    if (!window.Plotly) return;
    // Those in closed folds have no size and are not printed. Paper has room for two of this width side by side.
    document.querySelectorAll(".plot").forEach((plot) => { if (plot.offsetParent) draw(plot, { width: 330, height: 260 }); });
  });
  addEventListener("afterprint", () => document.querySelectorAll(".plot[data-drawn]").forEach((plot) => draw(plot)));
})();
