# Contrasts, one-sided tests, margins of equivalence, weights and transformed responses of emmeans, on unbalanced rows.
# Run in this folder: Rscript posthoc.R > posthoc.json
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(emmeans); library(mvtnorm); library(jsonlite)})
set.seed(1)
emm_options(lmer.df = "satterthwaite", lmerTest.limit = 1e5, pbkrtest.limit = 1e5, msg.interaction = FALSE, msg.nesting = FALSE)

read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")))
  frame$row <- seq_len(nrow(frame))
  for (f in factors) frame[[f]] <- factor(frame[[f]], levels = unique(frame[[f]]))
  frame
}
thinned <- function(frame) frame[frame$row %% 7 != 0 & frame$row %% 11 != 3, ]
polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))
# The call holds the formula itself, where emmeans looks for a transformation.
fit <- function(formula, data) eval(substitute(lmer(f, data, control = polished), list(f = as.formula(formula))))

# Tests and intervals separately, since each has its own adjustment.
as_table <- function(x, adjust = NULL, ...) {
  of <- function(infer) if (is.null(adjust)) summary(x, infer = infer, ...) else summary(x, infer = infer, adjust = adjust, ...)
  s <- as.data.frame(of(c(TRUE, FALSE)))
  t <- as.data.frame(of(c(FALSE, TRUE)))
  names(s)[names(s) %in% c("emmean", "response", "ratio")] <- "estimate"
  names(s)[names(s) %in% c("asymp.LCL", "lower.CL")] <- "lower"
  names(s)[names(s) %in% c("asymp.UCL", "upper.CL")] <- "upper"
  names(t)[names(t) %in% c("t.ratio", "z.ratio")] <- "statistic"
  keys <- setdiff(names(s), c("estimate", "SE", "df", "lower", "upper"))
  infinite <- function(v) ifelse(is.infinite(v), as.character(v), v)
  list(keys = lapply(s[keys], as.character), estimate = s$estimate, std_error = s$SE, df = infinite(s$df),
       statistic = t$statistic, p_value = t$p.value, ci_lower = infinite(s$lower), ci_upper = infinite(s$upper))
}

crop <- list("Alfalfa", c("Date", "Variety", "Block"), "thinned", "Yield ~ Date * Variety + (1 | Block/Variety)")
additive <- replace(crop, 4, "Yield ~ Date + Variety + (1 | Block/Variety)")
pigs <- list("dietox", c("Pig", "Cu", "Evit"), "thinned", "Weight ~ Time * Cu * Evit + (Time | Pig)")
of <- function(response) replace(crop, 4, sub("Yield", response, crop[[4]], fixed = TRUE))

case <- function(model, args, make, ...) list(model = model, args = args, make = make, how = list(...))
date <- function(method, ...) function(m) contrast(emmeans(m, "Date"), method, ...)
weigh <- list(`late - early` = c(-0.5, -0.5, 0.5, 0.5), `S1 twice` = c(-1, 2, 0, -1))
helmert <- list(`S1 - None` = c(-1, 1, 0, 0), `S20 - mean(None .. S1)` = c(-0.5, -0.5, 1, 0), `O7 - mean(None .. S20)` = c(-1, -1, -1, 3) / 3)
cells <- function(m) emmeans(m, c("Date", "Variety"))
two <- function(m) emmeans(m, "Cu", by = c("Evit", "Time"), at = list(Time = c(3, 9)))

cases <- list(
  reverse = case(crop, list(specs = "Date", contrasts = "reverse-pairwise"), date("revpairwise")),
  consecutive = case(crop, list(specs = "Date", contrasts = "consecutive"), date("consec")),
  reverse_consecutive = case(crop, list(specs = "Date", contrasts = "reverse-consecutive", adjust = "none"), date("consec", reverse = TRUE), adjust = "none"),
  mean = case(crop, list(specs = "Date", contrasts = "mean"), date("eff")),
  others = case(crop, list(specs = "Date", by = "Variety", contrasts = "others", adjust = "holm"),
                function(m) contrast(emmeans(m, "Date", by = "Variety"), "del.eff"), adjust = "holm"),
  polynomial = case(crop, list(specs = "Date", contrasts = "polynomial"), date("poly")),
  helmert = case(crop, list(specs = "Date", contrasts = "helmert"), date(helmert)),
  weighed = case(crop, list(specs = "Date", contrasts = weigh, adjust = "bonferroni"), date(weigh), adjust = "bonferroni"),
  interaction = case(crop, list(specs = c("Date", "Variety"), contrasts = list(Date = "polynomial", Variety = "pairwise")),
                     function(m) contrast(cells(m), interaction = c("poly", "pairwise"))),
  interaction_means = case(crop, list(specs = c("Date", "Variety"), contrasts = list(Date = "consecutive", Variety = "mean"), adjust = "fdr"),
                           function(m) contrast(cells(m), interaction = c("consec", "eff")), adjust = "fdr"),
  scheffe = case(crop, list(specs = "Date", pairwise = TRUE, adjust = "scheffe"), date("pairwise"), adjust = "scheffe"),
  scheffe_cells = case(crop, list(specs = c("Date", "Variety"), contrasts = list(Date = "pairwise", Variety = "pairwise"), adjust = "scheffe"),
                       function(m) contrast(cells(m), interaction = "pairwise"), adjust = "scheffe"),
  mvt = case(crop, list(specs = "Date", pairwise = TRUE, adjust = "mvt"), date("pairwise"), adjust = "mvt"),
  mvt_by = case(pigs, list(specs = "Cu", by = c("Evit", "Time"), at = list(Time = c(3, 9)), pairwise = TRUE, adjust = "mvt", ddf = "normal"),
                function(m) contrast(emmeans(m, "Cu", by = c("Evit", "Time"), at = list(Time = c(3, 9)), lmer.df = "asymptotic"), "pairwise"), adjust = "mvt"),
  fdr = case(crop, list(specs = "Date", by = "Variety", pairwise = TRUE, adjust = "fdr"),
             function(m) contrast(emmeans(m, "Date", by = "Variety"), "pairwise"), adjust = "fdr"),
  several_by = case(pigs, list(specs = "Cu", by = c("Evit", "Time"), at = list(Time = c(3, 9)), pairwise = TRUE),
                    function(m) contrast(two(m), "pairwise")),
  greater = case(crop, list(specs = "Date", pairwise = TRUE, adjust = "sidak", side = "greater"), date("pairwise"), side = ">", adjust = "sidak"),
  less_mvt = case(crop, list(specs = "Date", pairwise = TRUE, side = "less"), date("pairwise"), side = "<", adjust = "mvt"),
  less_control = case(crop, list(specs = "Date", control = "None", side = "less", ddf = "normal"),
                      function(m) contrast(emmeans(m, "Date", lmer.df = "asymptotic"), "trt.vs.ctrl"), side = "<", adjust = "mvt"),
  null = case(crop, list(specs = "Date", null = 1.5, level = 0.9), function(m) emmeans(m, "Date"), null = 1.5, level = 0.9),
  null_greater = case(crop, list(specs = "Variety", null = 1.55, side = "greater"), function(m) emmeans(m, "Variety"), null = 1.55, side = ">"),
  equivalence = case(crop, list(specs = "Date", pairwise = TRUE, delta = 0.25), date("pairwise"), delta = 0.25, adjust = "holm"),
  equivalence_alone = case(crop, list(specs = "Variety", pairwise = TRUE, delta = 0.2, null = 0.05, adjust = "none"),
                           function(m) contrast(emmeans(m, "Variety"), "pairwise"), delta = 0.2, null = 0.05, adjust = "none"),
  noninferior = case(crop, list(specs = "Date", control = "None", delta = 0.1, side = "greater", adjust = "bonferroni"),
                     date("trt.vs.ctrl"), delta = 0.1, side = ">", adjust = "bonferroni"),
  nonsuperior = case(crop, list(specs = "Variety", pairwise = TRUE, delta = 0.1, side = "less", adjust = "fdr"),
                     function(m) contrast(emmeans(m, "Variety"), "pairwise"), delta = 0.1, side = "<", adjust = "fdr"),
  kenward = case(crop, list(specs = "Date", contrasts = "mean", ddf = "kenward-roger"),
                 function(m) contrast(emmeans(m, "Date", lmer.df = "kenward-roger"), "eff")),
  outer = case(pigs, list(specs = "Time", at = list(Time = c(3, 9)), weights = "outer"),
               function(m) emmeans(m, "Time", at = list(Time = c(3, 9)), weights = "outer")),
  cells = case(crop, list(specs = "Date", weights = "cells"), function(m) emmeans(m, "Date", weights = "cells")),
  cells_by = case(pigs, list(specs = "Cu", by = "Time", at = list(Time = c(3, 9)), weights = "cells", pairwise = TRUE),
                  function(m) contrast(emmeans(m, "Cu", by = "Time", at = list(Time = c(3, 9)), weights = "cells"), "pairwise")),
  cells_additive = case(additive, list(specs = "Variety", weights = "cells"), function(m) emmeans(m, "Variety", weights = "cells")),
  log = case(of("log(Yield)"), list(specs = "Date", scale = "response"), function(m) emmeans(m, "Date"), type = "response"),
  log_ratios = case(of("log(Yield)"), list(specs = "Date", pairwise = TRUE, scale = "response"), date("pairwise"), type = "response"),
  log_against_mean = case(of("log(Yield)"), list(specs = "Date", contrasts = "mean", scale = "response"), date("eff"), type = "response"),
  log_null = case(of("log(Yield)"), list(specs = "Date", scale = "response", null = 0.4, side = "less"),
                  function(m) emmeans(m, "Date"), type = "response", null = 0.4, side = "<"),
  log2 = case(of("log2(Yield)"), list(specs = "Date", by = "Variety", pairwise = TRUE, scale = "response"),
              function(m) contrast(emmeans(m, "Date", by = "Variety"), "pairwise"), type = "response"),
  log10 = case(of("log10(Yield)"), list(specs = "Variety", scale = "response"), function(m) emmeans(m, "Variety"), type = "response"),
  log10_ratios = case(of("log10(Yield)"), list(specs = "Variety", pairwise = TRUE, scale = "response"),
                      function(m) contrast(emmeans(m, "Variety"), "pairwise"), type = "response"),
  log1p = case(of("log1p(Yield)"), list(specs = "Date", scale = "response"), function(m) emmeans(m, "Date"), type = "response"),
  log_shifted = case(of("log(Yield + 1)"), list(specs = "Date", scale = "response"), function(m) emmeans(m, "Date"), type = "response"),
  sqrt = case(of("sqrt(Yield)"), list(specs = "Date", scale = "response"), function(m) emmeans(m, "Date"), type = "response"),
  sqrt_unbiased = case(of("sqrt(Yield)"), list(specs = "Date", scale = "response", bias_adjust = 0.15),
                       function(m) emmeans(m, "Date"), type = "response", bias.adjust = TRUE, sigma = 0.15),
  sqrt_pairs = case(of("sqrt(Yield)"), list(specs = "Date", pairwise = TRUE, scale = "response"), date("pairwise"), type = "response")
)
out <- lapply(cases, function(case) {
  data <- read(case$model[[1]], case$model[[2]])
  if (case$model[[3]] == "thinned") data <- thinned(data)
  m <- fit(case$model[[4]], data)
  table <- do.call(as_table, c(list(case$make(m)), case$how))
  c(list(data = case$model[[1]], factors = case$model[[2]], change = case$model[[3]], formula = case$model[[4]],
         args = case$args), table)
})
# Powers, by transformations that emmeans is told of.
data <- thinned(read(crop[[1]], crop[[2]]))
for (p in c(0.3, -1)) {
  power <- make.tran("power", p)
  m <- with(power, lmer(linkfun(Yield) ~ Date * Variety + (1 | Block/Variety), data, control = polished))
  text <- if (p < 0) "1/Yield" else "Yield**0.3"
  out[[text]] <- c(list(data = crop[[1]], factors = crop[[2]], change = "thinned", formula = of(text)[[4]],
                        args = list(specs = "Date", scale = "response")), as_table(emmeans(m, "Date"), type = "response"))
}
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE, na = "null"), "\n")
