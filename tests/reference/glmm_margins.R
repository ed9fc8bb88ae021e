# Marginal means, contrasts, slopes and joint tests of generalised models by emmeans, and standard errors of predictions by glmmTMB.
# Run in this folder: Rscript glmm_margins.R > glmm_margins.json
suppressMessages({library(glmmTMB); library(emmeans); library(jsonlite)})
emm_options(msg.interaction = FALSE, msg.nesting = FALSE)
read <- function(name, factors) {
  frame <- read.csv(file.path("..", "data", paste0(name, ".csv")), stringsAsFactors = FALSE)
  for (f in factors) frame[[f]] <- factor(frame[[f]])
  frame
}
flat <- function(x, ...) {
  s <- as.data.frame(summary(x, infer = c(TRUE, TRUE), ...))
  numbers <- setdiff(names(s)[sapply(s, is.numeric)], c("df", "null"))
  keys <- setdiff(names(s), c(numbers, "df", "null"))
  names(s)[names(s) %in% c("prob", "rate", "response", "emmean", "estimate", "odds.ratio", "ratio") | grepl("\\.trend$", names(s))] <- "estimate"
  names(s)[names(s) %in% c("asymp.LCL", "lower.CL")] <- "lower"
  names(s)[names(s) %in% c("asymp.UCL", "upper.CL")] <- "upper"
  list(keys = lapply(s[keys], as.character), estimate = s$estimate, std_error = s$SE, lower = s$lower, upper = s$upper, p_value = s$p.value)
}
joint <- function(m, ...) { s <- as.data.frame(joint_tests(m, ...)); list(term = s[["model term"]], df = s$df1, chisq = s$F.ratio * s$df1, p_value = s$p.value) }
cbpp <- read("cbpp", c("herd", "period"))
used <- read("Contraception", c("district", "urban", "livch"))
used$used <- as.integer(used$use == "Y")
ticks <- read("grouseticks", c("BROOD", "LOCATION", "YEAR"))
a <- glmmTMB(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, family = binomial)
b <- glmmTMB(used ~ age * urban + livch + (1 | district), used, family = binomial)
c <- glmmTMB(TICKS ~ YEAR * cHEIGHT + (1 | BROOD), ticks, family = nbinom2)
predicted <- function(m) { p <- predict(m, type = "link", se.fit = TRUE); list(estimate = as.numeric(p$fit), std_error = as.numeric(p$se.fit)) }
cat(toJSON(list(
  versions = list(emmeans = as.character(packageVersion("emmeans")), glmmTMB = as.character(packageVersion("glmmTMB"))),
  cbpp_link = flat(emmeans(a, "period", df = Inf)),
  cbpp_response = flat(emmeans(a, "period", df = Inf), type = "response"),
  cbpp_odds = flat(contrast(emmeans(a, "period", df = Inf), "pairwise"), type = "response", adjust = "holm"),
  used_response = flat(emmeans(b, c("livch", "urban"), at = list(age = 5), df = Inf), type = "response"),
  used_slopes = flat(emtrends(b, "urban", var = "age", delta.var = 1e-5, df = Inf)),
  used_joint = joint(b),
  ticks_response = flat(emmeans(c, "YEAR", df = Inf), type = "response"),
  ticks_ratios = flat(contrast(emmeans(c, "YEAR", df = Inf), "pairwise"), type = "response", adjust = "none"),
  ticks_joint = joint(c),
  cbpp_predicted = predicted(a),
  ticks_predicted = predicted(c)
), digits = 12, auto_unbox = TRUE, pretty = TRUE))
