# Slopes of emtrends and their differences, on unbalanced rows.
# Run in this folder: Rscript slopes.R > slopes.json
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(emmeans); library(mvtnorm); library(splines); library(jsonlite)})
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
fit <- function(formula, data) eval(substitute(lmer(f, data, control = polished), list(f = as.formula(formula))))
# emtrends takes differences on one side: a small one leaves an error far below the tests' tolerance.
trends <- function(m, specs, var, ...) emtrends(m, specs, var = var, delta.var = 1e-6, ...)

as_table <- function(x, ...) {
  s <- as.data.frame(summary(x, infer = c(TRUE, TRUE), ...))
  names(s)[grepl("\\.trend$", names(s))] <- "estimate"
  names(s)[names(s) %in% c("asymp.LCL", "lower.CL")] <- "lower"
  names(s)[names(s) %in% c("asymp.UCL", "upper.CL")] <- "upper"
  names(s)[names(s) %in% c("t.ratio", "z.ratio")] <- "statistic"
  keys <- setdiff(names(s), c("estimate", "SE", "df", "lower", "upper", "statistic", "p.value", "null"))
  infinite <- function(v) ifelse(is.infinite(v), as.character(v), v)
  list(keys = lapply(s[keys], as.character), estimate = s$estimate, std_error = s$SE, df = infinite(s$df),
       statistic = s$statistic, p_value = s$p.value, ci_lower = infinite(s$lower), ci_upper = infinite(s$upper))
}

pigs <- function(r, ours = r) list("dietox", c("Pig", "Cu", "Evit"), "thinned", r, ours)
three <- pigs("Weight ~ Time * Cu * Evit + (Time | Pig)")
curve <- pigs("Weight ~ Time * Cu + I(Time^2) + Evit + (Time | Pig)", "Weight ~ Time * Cu + I(Time**2) + Evit + (Time | Pig)")
covariates <- list("dietox", c("Pig", "Cu", "Evit"), "complete", "Weight ~ Time * Feed + Cu + (Time | Pig)", "Weight ~ Time * Feed + Cu + (Time | Pig)")
case <- function(model, args, make, ...) list(model = model, args = args, make = make, how = list(...))
cases <- list(
  linear = case(three, list(variable = "Time", by = "Cu"), function(m) trends(m, "Cu", "Time")),
  pairs = case(three, list(variable = "Time", by = "Cu", pairwise = TRUE), function(m) contrast(trends(m, "Cu", "Time"), "pairwise")),
  within = case(three, list(variable = "Time", by = "Cu", within = "Evit", pairwise = TRUE, adjust = "holm"),
                function(m) contrast(trends(m, c("Cu", "Evit"), "Time"), "pairwise", by = "Evit"), adjust = "holm"),
  kenward = case(three, list(variable = "Time", by = "Cu", ddf = "kenward-roger"), function(m) trends(m, "Cu", "Time", lmer.df = "kenward-roger")),
  proportional = case(three, list(variable = "Time", by = "Cu", weights = "proportional", contrasts = "consecutive", adjust = "bonferroni"),
                      function(m) contrast(trends(m, "Cu", "Time", weights = "proportional"), "consec"), adjust = "bonferroni"),
  interaction = case(three, list(variable = "Time", by = c("Cu", "Evit"), contrasts = list(Cu = "pairwise", Evit = "pairwise")),
                     function(m) contrast(trends(m, c("Cu", "Evit"), "Time"), interaction = "pairwise")),
  null = case(three, list(variable = "Time", by = "Cu", null = 6.9, side = "greater", level = 0.9),
              function(m) trends(m, "Cu", "Time"), null = 6.9, side = ">", level = 0.9),
  curve = case(curve, list(variable = "Time", by = "Time", at = list(Time = c(1, 6, 12))),
               function(m) trends(m, "Time", "Time", at = list(Time = c(1, 6, 12)))),
  curve_mean = case(curve, list(variable = "Time", by = "Cu", pairwise = TRUE), function(m) contrast(trends(m, "Cu", "Time"), "pairwise")),
  log = case(pigs("Weight ~ log(Time) * Cu + (Time | Pig)"), list(variable = "Time", by = c("Cu", "Time"), at = list(Time = c(1, 8))),
             function(m) trends(m, c("Cu", "Time"), "Time", at = list(Time = c(1, 8)))),
  poly = case(pigs("Weight ~ poly(Time, 3) * Cu + (Time | Pig)"), list(variable = "Time", by = c("Cu", "Time"), at = list(Time = c(2, 8))),
              function(m) trends(m, c("Cu", "Time"), "Time", at = list(Time = c(2, 8)))),
  spline = case(pigs("Weight ~ bs(Time, knots = c(4, 8)) + (Time | Pig)", "Weight ~ bs(Time, knots=[4, 8]) + (Time | Pig)"),
                list(variable = "Time", by = "Time", at = list(Time = c(3, 6, 10))), function(m) trends(m, "Time", "Time", at = list(Time = c(3, 6, 10)))),
  covariate = case(covariates, list(variable = "Time", by = "Feed", at = list(Feed = c(50, 200))),
                   function(m) trends(m, "Feed", "Time", at = list(Feed = c(50, 200)))),
  covariate_mean = case(covariates, list(variable = "Time"), function(m) trends(m, ~ 1, "Time"))
)
out <- lapply(cases, function(case) {
  data <- read(case$model[[1]], case$model[[2]])
  data <- if (case$model[[3]] == "complete") data[!is.na(data$Feed), ] else thinned(data)
  m <- fit(case$model[[4]], data)
  table <- do.call(as_table, c(list(case$make(m)), case$how))
  c(list(data = case$model[[1]], factors = case$model[[2]], change = case$model[[3]], formula = case$model[[5]],
         args = case$args), table)
})
cat(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE, na = "null"), "\n")
