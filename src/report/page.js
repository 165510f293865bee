// Draws the figures of a report: light or dark as the reader's system is, as wide as there is room,
// and light on paper. Each figure stands in an <article class="figure"> that holds its Vega-Lite
// as JSON; vega, vegaLite and vegaEmbed stand before this script.
"use strict";
(() => {
  const fontFamily = "system-ui, sans-serif";
  const gap = 28; // between panels
  // Panels that would be narrower, axes included, go below each other.
  const smallestPanel = { free: 280, ofFixedAspect: 200 };
  const tallestPanel = 420; // of fixed aspect
  const axisTitle = 20; // what the y axis's title takes above a panel, which Vega does not count
  const paperWidth = 660; // of A4 and Letter between their margins, in CSS pixels

  // Any two of a theme's categories differ by about 12 or more in CIEDE2000, any two of the first
  // four by 15 or more, to normal sight and under simulated protanopia, deuteranopia and tritanopia
  // (Machado et al. 2009); each has a contrast of 3:1 or more with the page.
  const light = {
    ink: "#1c2227",
    quiet: "#57616b",
    line: "#dbe0e4",
    accent: "#2767dc",
    categories: ["#2767dc", "#b23c0e", "#1da67d", "#8a4f80", "#c08400", "#333f47"],
  };
  const dark = {
    ink: "#e3e7ea",
    quiet: "#9da7b0",
    line: "#30363d",
    accent: "#4793fa",
    categories: ["#4793fa", "#e4692a", "#62dfae", "#f2c6ea", "#cfcb52", "#7b868f"],
  };

  // Otherwise the page shines through between the cells of a heatmap.
  const crispCells = ".mark-rect path { shape-rendering: crispEdges; }";
  document.head.append(Object.assign(document.createElement("style"), { textContent: crispCells }));

  // What a spec leaves to the page. `legendColumns` is 0 for all entries in one row.
  function config(theme, room, legendColumns) {
    const mark = (size) => ({ size, filled: true });
    return {
      background: theme.background ?? null,
      padding: { left: 1, top: 1, right: 1, bottom: 4 },
      aria: false,
      font: fontFamily,
      tooltipFormat: { numberFormat: ".6~g" },
      view: { stroke: null },
      concat: { spacing: gap },
      facet: { spacing: gap },
      mark: { color: theme.accent, tooltip: true },
      line: { strokeWidth: 2, tooltip: null },
      area: { tooltip: null },
      trail: { tooltip: null },
      errorband: { band: { opacity: 0.18, tooltip: null } },
      point: mark(40),
      circle: mark(40),
      square: mark(40),
      rule: { color: theme.quiet },
      text: { color: theme.ink },
      range: {
        category: theme.categories,
        heatmap: { scheme: "viridis" },
        ramp: { scheme: "viridis" },
        ordinal: { scheme: "viridis" },
        diverging: { scheme: "blueorange" },
      },
      axis: {
        domainColor: theme.quiet,
        tickColor: theme.quiet,
        gridColor: theme.line,
        labelColor: theme.quiet,
        titleColor: theme.ink,
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: 500,
        titleLimit: 0,
        labelPadding: 5,
        tickSize: 4,
        labelOverlap: true,
        labelSeparation: 3,
      },
      axisX: { grid: false, labelAngle: 0, titlePadding: 8 },
      // The title lies above the axis: no head needs turning, and no width is lost.
      axisY: {
        domain: false,
        ticks: false,
        titleAngle: 0,
        titleAlign: "left",
        titleAnchor: "end",
        titleBaseline: "bottom",
        titleX: 0,
        titleY: -8,
      },
      axisBand: { domain: false, ticks: false, grid: false },
      axisPoint: { grid: false },
      legend: {
        orient: "top",
        columns: legendColumns,
        columnPadding: 18,
        rowPadding: 4,
        offset: axisTitle + 6,
        symbolOpacity: 1, // not the one of a pale area
        gradientOpacity: 1,
        labelColor: theme.ink,
        titleColor: theme.ink,
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: 500,
        labelLimit: room - 40,
        titleLimit: room,
        symbolSize: 90,
        symbolStrokeWidth: 2,
        gradientLength: Math.min(240, Math.round(room * 0.6)),
        gradientThickness: 10,
        gradientStrokeWidth: 0,
      },
      header: {
        title: null,
        labelColor: theme.ink,
        labelFontSize: 13,
        labelFontWeight: 600,
        labelAnchor: "start",
        labelPadding: axisTitle + 4,
      },
      headerRow: { labelAnchor: "middle", labelPadding: 8 },
      title: {
        color: theme.ink,
        anchor: "start",
        frame: "group",
        fontSize: 13,
        fontWeight: 600,
        offset: axisTitle + 2,
      },
    };
  }

  // A figure of the page. A spec's panels are the views that it lays out side by side.
  class Figure {
    constructor(article) {
      this.id = article.id;
      this.title = article.querySelector("h3").textContent;
      this.caption = article.querySelector("figcaption").textContent;
      this.drawing = article.querySelector(".drawing");
      this.spec = JSON.parse(article.querySelector("script.spec").textContent);
      this.aspect = Number(article.dataset.panelAspect) || null;
      const { concat, facet, encoding } = this.spec;
      this.wraps = Boolean(concat || encoding?.facet || (facet && !facet.row && !facet.column));
      this.turn = 0; // counts the calls of draw(), of which the last one shows
    }

    // Draws anew; the old drawing stays until the new one is there.
    async draw(theme, room) {
      const turn = ++this.turn;
      const result = await this.fit(theme, room, "svg");
      if (turn !== this.turn) {
        result.finalize();
        return;
      }
      // The page gives the figure its name; its numbers are in the table behind it.
      result.element.querySelector("svg").setAttribute("aria-hidden", "true");
      this.shown?.finalize();
      this.shown = result;
      this.drawing.replaceChildren(...result.element.childNodes);
    }

    // The figure as a file's text, for pages that are light.
    async svg(width) {
      const theme = { ...light, background: "white" };
      const { view, finalize } = await this.fit(theme, width, "none");
      const text = await view.toSVG();
      finalize();
      return text.replace(">", `><style>${crispCells}</style>`);
    }

    // Draws what fills `room` pixels: with as many columns as there is room for, and panels of the
    // width that is left beside axes and gaps.
    async fit(theme, room, renderer) {
      const count = await this.panelCount();
      const smallest = this.aspect ? smallestPanel.ofFixedAspect : smallestPanel.free;
      const most = Math.floor((room + gap) / (smallest + gap));
      const columns = this.wraps ? balancedColumns(count, most) : count;
      const widest = Math.floor((room - gap * (columns - 1)) / columns);
      for (const legendColumns of [0, 4, 3, 2, 1]) {
        const options = { config: config(theme, room, legendColumns) };
        const compile = (width) => vegaLite.compile(this.sized(width, columns), options).spec;
        // By how much panels that leave nothing for axes are too wide.
        const excess = (await measure(compile(widest))) - room;
        const width = Math.max(40, widest - Math.ceil(excess / columns));
        const result = await embed(compile(width), renderer);
        // If that is still too wide it is the legend, which then takes more rows. A few pixels are
        // the labels', and the page shrinks them away.
        if (drawnWidth(result.view) <= room + 8 || legendColumns === 1) return result;
        result.finalize();
      }
    }

    // How many panels there would be side by side in a room of any width.
    async panelCount() {
      this.count ??= this.spec.concat?.length ?? (await this.facetCount());
      return this.count;
    }

    // Facets are as many as their field has values: to be seen in what Vega makes of them.
    async facetCount() {
      const { view, finalize } = await embed(vegaLite.compile(this.sized(40, 0)).spec, "none");
      const marks = view.scenegraph().root.items[0].items;
      const cells = marks.filter((mark) => mark.name === "cell").flatMap((mark) => mark.items);
      finalize();
      return Math.max(1, new Set(cells.map((cell) => cell.x)).size);
    }

    // The spec with the size of each panel, and the number of columns if it can be chosen.
    sized(room, columns) {
      const { spec } = this;
      const size = this.panelSize(room);
      const panel = (view) => ({ ...view, ...size });
      if (spec.concat) return { ...spec, columns, concat: spec.concat.map(panel) };
      if (spec.facet) return { ...spec, ...(this.wraps && { columns }), spec: panel(spec.spec) };
      if (spec.encoding?.facet) {
        const facet = { ...spec.encoding.facet, columns };
        return panel({ ...spec, encoding: { ...spec.encoding, facet } });
      }
      return panel(spec);
    }

    panelSize(room) {
      const { aspect } = this;
      const width = Math.round(aspect ? Math.min(room, tallestPanel * aspect) : room);
      const height = aspect ? width / aspect : Math.min(Math.max(width / 1.7, 200), 360);
      return { width, height: Math.round(height) };
    }

    // The spec as a file that Vega's editor and others open.
    vegaLite() {
      const file = {
        $schema: "https://vega.github.io/schema/vega-lite/v6.json",
        title: this.title,
        description: this.caption,
        ...this.spec,
      };
      return JSON.stringify(file, null, 2) + "\n";
    }
  }

  // The fewest columns that need no more rows than `most` columns do.
  function balancedColumns(count, most) {
    return Math.ceil(count / Math.ceil(count / Math.max(1, most)));
  }

  // With `ast`, Vega interprets expressions instead of compiling them, which the page's policy
  // forbids. The renderer "none" only lays out.
  async function embed(vega, renderer) {
    const element = document.createElement("div");
    const { view, finalize } = await vegaEmbed(element, vega, {
      mode: "vega",
      renderer,
      ast: true,
      actions: false,
      defaultStyle: false,
      tooltip: { disableDefaultStyle: true },
    });
    return { element, view, finalize };
  }

  async function measure(vega) {
    const { view, finalize } = await embed(vega, "none");
    const width = drawnWidth(view);
    finalize();
    return width;
  }

  // With its axes and legends, and the padding that config() asks for.
  function drawnWidth(view) {
    return Math.ceil(view.scenegraph().root.bounds.width()) + 2;
  }

  function save(name, type, text) {
    const link = document.createElement("a");
    link.download = name;
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  const articles = document.querySelectorAll(".figure");
  const figures = Array.from(articles, (article) => new Figure(article));
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const onPaper = matchMedia("print");

  async function draw(figure, theme, room) {
    try {
      await figure.draw(theme, room);
    } catch (error) {
      figure.drawing.textContent = `This figure could not be drawn: ${error.message}`;
      console.error(figure.id, error);
    }
  }

  const drawForScreen = (figure) =>
    draw(figure, prefersDark.matches ? dark : light, figure.drawing.clientWidth);
  const drawForPaper = (figure) => draw(figure, light, paperWidth);

  let drawn = drawOneByOne();

  // Lets the browser show the text, and each figure, before it goes on.
  async function drawOneByOne() {
    for (const figure of figures) {
      await new Promise((resolve) => setTimeout(resolve));
      await drawForScreen(figure);
    }
  }

  function redraw(how) {
    drawn = Promise.all([drawn, ...figures.map(how)]);
  }

  figures.forEach((figure) => {
    const article = document.getElementById(figure.id);
    article.querySelector('[data-save="svg"]').addEventListener("click", async () =>
      save(`${figure.id}.svg`, "image/svg+xml", await figure.svg(800)));
    article.querySelector('[data-save="vega-lite"]').addEventListener("click", () =>
      save(`${figure.id}.vl.json`, "application/json", figure.vegaLite()));
  });

  prefersDark.addEventListener("change", () => redraw(drawForScreen));
  // Printing waits for no timer, only for what runs at once: drawing does.
  addEventListener("beforeprint", () => redraw(drawForPaper));
  addEventListener("afterprint", () => redraw(drawForScreen));
  onPaper.addEventListener("change", () => redraw(onPaper.matches ? drawForPaper : drawForScreen));
  let width = document.body.clientWidth;
  let timer;
  addEventListener("resize", () => {
    if (document.body.clientWidth === width) return; // a phone's address bar comes and goes
    width = document.body.clientWidth;
    clearTimeout(timer);
    timer = setTimeout(() => redraw(drawForScreen), 150);
  });

  // For programs that read the page: when all that was asked for is drawn, and figures as files.
  window.report = {
    get drawn() {
      return drawn.then(() => figures.length);
    },
    svg: (id, pixels) => figures.find((figure) => figure.id === id).svg(pixels),
  };
})();
