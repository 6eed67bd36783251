// Draws the charts when they come near the window, in the colours of the reader's scheme.
"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("data-charts").textContent);
  const config = {
    displaylogo: false, displayModeBar: false, responsive: true,
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const axis = (own) => ({
    gridcolor: colour("--grid"), zerolinecolor: colour("--grid"), linecolor: colour("--rule"),
    tickfont: { size: 11 }, automargin: true, fixedrange: false, ...own,
    ...(own.title ? { title: { ...own.title, font: { size: 11 } } } : {}),
  });

  const dressed = (layout) => ({
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colour("--sans"), size: 12, color: colour("--soft") },
    margin: { l: 44, r: 8, t: layout.showlegend ? 44 : 20, b: 40 },
    xaxis: axis({ ...layout.xaxis, showgrid: false, ticks: "outside", ticklen: 4, tickcolor: colour("--rule") }),
    yaxis: axis({ ...layout.yaxis, zeroline: false }),
    hovermode: "x unified",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",  // a finger scrolls the page
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--rule"), font: { color: colour("--ink") } },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", traceorder: "normal", font: { size: 11 } },
  });

  const draw = (place) => {
    const { data, layout } = figures[Number(place.dataset.chart)];
    Plotly.react(place, data, dressed(layout), config);
    place.dataset.drawn = "yes";
  };

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "600px" });
  document.querySelectorAll("[data-chart]").forEach((place) => near.observe(place));

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.querySelectorAll("[data-drawn]").forEach(draw);
  });
  addEventListener("beforeprint", () => {
    document.querySelectorAll("[data-chart]:not([data-drawn])").forEach(draw);
  });
})();
