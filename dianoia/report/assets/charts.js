// Draws each chart when it comes near the window, in the colours of the reader's light or dark scheme.
"use strict";
(() => {
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

  // The element after each plot holds its figure as JSON.
  const draw = (plot) => {
    const { data, layout } = JSON.parse(plot.nextElementSibling.textContent);
    Plotly.react(plot, data, styled(layout), config);
    plot.dataset.drawn = "yes";
  };

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { observer.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "600px" });
  document.querySelectorAll(".plot").forEach((plot) => observer.observe(plot));

  // The colours are part of the figures, so a change of scheme draws them again.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.querySelectorAll(".plot[data-drawn]").forEach(draw);
  });
  addEventListener("beforeprint", () => {
    document.querySelectorAll(".plot:not([data-drawn])").forEach(draw);
  });
})();
